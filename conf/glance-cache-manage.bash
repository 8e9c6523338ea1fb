# SPDX-License-Identifier: Apache-2.0
# Completion of glance-cache-manage for bash.
_glance_cache_manage() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="help list-cached list-queued queue-image delete-cached-image delete-all-cached-images delete-queued-image
        delete-all-queued-images status pin unpin prune clean"
    local options="--host --port --https --ca-file --insecure --force --json --verbose --debug --help --version --os-auth-token
        --os-username --os-password --os-project-id --os-project-name --os-user-domain-id --os-project-domain-id --os-domain-id
        --os-auth-url --os_auth_strategy"
    local word
    case $previous in
        --ca-file) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -S | --os_auth_strategy) mapfile -t COMPREPLY < <(compgen -W "keystone noauth" -- "$current"); return ;;
        -H | --host) mapfile -t COMPREPLY < <(compgen -A hostname -- "$current"); return ;;
        -p | --port | -A | -I | -K | -T | -N | -R | --os-*) return ;;
        help) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current"); return ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ " ${commands//$'\n'/ } " == *" $word "* ]] && return
    done
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
}
complete -F _glance_cache_manage glance-cache-manage
