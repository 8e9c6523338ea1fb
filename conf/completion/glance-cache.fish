# SPDX-License-Identifier: Apache-2.0
# Completion of the glance-cache programs for fish(1), which loads it by the name of each. Options are what the program's --help names; image
# ids come from the mount.

function __glance_cache_options
    set -l words (commandline -opc)
    $words[1] --help 2>/dev/null | string match -ar -- '(?<![\w-])--?[A-Za-z][a-z0-9-]*(?![\w-])' | sort -u
end

function __glance_cache_mounts
    string match -r -- '^\S+ \S+ \S+ \S+ (\S+) .* - fuse\.glance-cache-fs ' </proc/self/mountinfo | string match -v -- '* - *' | string unescape
end

# Names in a folder of the mount that --mount names, or of all mounts.
function __glance_cache_ids
    set -l words (commandline -opc)
    set -l points (__glance_cache_mounts)
    if set -l i (contains -i -- --mount $words); and test (count $words) -gt $i
        set points $words[(math $i + 1)]
    end
    for point in $points
        timeout 2 ls $point/$argv[1] 2>/dev/null
    end
end

function __glance_cache_before
    set -l words (commandline -opc)
    contains -- $words[-1] $argv
end

function __glance_cache_commands
    set -l words (commandline -opc)
    $words[1] --help 2>/dev/null | sed -n '/^Commands:/,/^Options:/s/^ \{2,6\}\([a-z][a-z-]*\).*/\1/p'
end

function __glance_cache_said
    set -l words (commandline -opc)
    for word in $argv
        contains -- $word $words; and return 0
    end
    return 1
end

set -l paths --config-file --check --dump-config --ca-file --token-file --file
set -l mounts --mount --reload --upgrade --report
set -l values --interval --stall-time --rate --to --jobs --port -p --timeout
for program in glance-cache-fs glance-cache-top glance-cache-api glance-cache-{,fs-}{pruner,cleaner,prefetcher,manage}
    complete -c $program -f
    complete -c $program -n "not __glance_cache_before $paths $mounts $values" -a '(__glance_cache_options)'
    complete -c $program -n "__glance_cache_before $paths" -F
    complete -c $program -n "__glance_cache_before $mounts" -a '(__glance_cache_mounts; __fish_complete_directories)'
end
complete -c glance-cache-fs -n "not __glance_cache_before $paths $mounts" -F
for program in glance-cache-{,fs-}prefetcher
    complete -c $program -n "not __glance_cache_before $paths $mounts $values" -a '(__glance_cache_ids images)'
end
for program in glance-cache-{,fs-}manage
    set -l commands list-cached list-queued list-images list-incomplete list-invalid show-queue show watch queue-image delete-cached-image \
        delete-all-cached-images delete-queued-image delete-all-queued-images status pin unpin prune clean
    complete -c $program -n "not __glance_cache_said $commands; and not __glance_cache_before $paths $values -H --host" -a '(__glance_cache_commands)'
    complete -c $program -n '__glance_cache_said queue-image show' -a '(__glance_cache_ids images)'
    complete -c $program -n '__glance_cache_said delete-cached-image pin unpin' -a '(__glance_cache_ids cached)'
    complete -c $program -n '__glance_cache_said delete-queued-image' -a '(__glance_cache_ids queued)'
end
