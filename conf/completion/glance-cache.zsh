#compdef glance-cache-fs glance-cache-pruner glance-cache-cleaner glance-cache-prefetcher glance-cache-top glance-cache-api glance-cache-manage glance-cache-fs-pruner glance-cache-fs-cleaner glance-cache-fs-prefetcher glance-cache-fs-manage
# SPDX-License-Identifier: Apache-2.0
# Completion of the glance-cache programs for zsh(1). Options are what the program's --help names; image ids come from the mount.

_glance_cache_options() {
    local -a found
    found=(${(f)"$("$1" --help 2>/dev/null | LC_ALL=C grep -oE '(^|[[:space:],|[])(--[a-z][a-z0-9-]*|-[A-Za-z])([[:space:],=|]|]|$)' |
        grep -oE -- '--?[A-Za-z][a-z0-9-]*' | sort -u)"})
    compadd -- $found
}

_glance_cache_mounts() {
    local line
    local -a fields points
    while IFS= read -r line; do
        fields=(${=line})
        [[ ${${(M)fields:#fuse.glance-cache-fs}[1]} == fuse.glance-cache-fs ]] && points+=("${(g::)fields[5]//\\/\\0}")
    done </proc/self/mountinfo
    (( $#points )) && print -rl -- $points
}

# Names in a folder of the mount that --mount names, or of all mounts.
_glance_cache_ids() {
    local point i
    local -a points ids
    i=${words[(i)--mount]}
    if (( i < $#words )); then points=("${words[i+1]}"); else points=(${(f)"$(_glance_cache_mounts)"}); fi
    for point in $points; do
        ids+=(${(f)"$(timeout 2 ls "$point/$1" 2>/dev/null)"})
    done
    compadd -- $ids
}

_glance_cache() {
    local program=$words[1] before=${words[CURRENT-1]} word=${words[CURRENT]}
    case $before in
        --config-file|--check|--dump-config|--ca-file|--token-file|--file) _files; return ;;
        --mount|--reload|--upgrade|--report) compadd -- ${(f)"$(_glance_cache_mounts)"}; _files -/; return ;;
        --host|-H) _hosts; return ;;
        -S|--os-auth-strategy) compadd -- keystone noauth; return ;;
        --interval|--stall-time|--rate|--to|--jobs|--port|--timeout|-p|-A|-I|-K|-T|-N|-R|--os-*) return ;;
    esac
    if [[ $word == -* ]]; then
        _glance_cache_options $program
        return
    fi
    case ${program:t} in
        glance-cache-fs) if [[ $before == -o ]]; then compadd -- allow_other ro default_permissions fsname=; else _files; fi ;;
        *-prefetcher) _glance_cache_ids images ;;
        *-manage)
            case " ${words[*]} " in
                *" queue-image "*|*" show "*) _glance_cache_ids images ;;
                *" delete-cached-image "*|*" pin "*|*" unpin "*) _glance_cache_ids cached ;;
                *" delete-queued-image "*) _glance_cache_ids queued ;;
                *) compadd -- ${(f)"$("$program" --help 2>/dev/null | sed -n '/^Commands:/,/^Options:/s/^ \{2,6\}\([a-z][a-z-]*\).*/\1/p')"} ;;
            esac ;;
    esac
}

_glance_cache "$@"
