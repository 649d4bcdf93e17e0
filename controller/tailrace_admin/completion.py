"""Completion of `tailrace` for bash, zsh and fish, rendered from the tree of the parser, so that it cannot drift.

A script knows for each command the words that may follow. Names of topics, groups and brokers are asked of the broker
at the press of the key, by `tailrace admin __complete KIND PREFIX`.
"""

import argparse
from collections.abc import Iterator
from typing import Final, NamedTuple

SHELLS: Final = ("bash", "zsh", "fish")


class Place(NamedTuple):
    """What may follow at one place of the command line."""

    path: str
    """The words that lead there, with a space between them; for the value of an option, with the option at the end."""
    words: tuple[str, ...]
    kind: str
    """Of the names that are asked for; empty for none. "resources": of the kind that the word before says."""


def commands_of(parser: argparse.ArgumentParser, path: str) -> Iterator[Place]:
    """A command's own place and those of its sub-commands, the outer ones first."""
    words: list[str] = []
    kind = ""
    inner: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        words += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            inner = dict(action.choices)
            words += inner
        elif not action.option_strings:
            words += map(str, action.choices or ())
            kind = getattr(action, "completes", kind)
    yield Place(path, tuple(words), kind)
    for name, sub in inner.items():
        yield from commands_of(sub, f"{path} {name}")


def values_of(parser: argparse.ArgumentParser, path: str) -> Iterator[Place]:
    """The places behind options that take a value."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from values_of(sub, f"{path} {name}")
        elif action.nargs != 0:
            for option in action.option_strings:
                yield Place(f"{path} {option}", tuple(map(str, action.choices or ())), getattr(action, "completes", ""))


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for one of SHELLS. parser is that of `tailrace admin`."""
    top = Place("tailrace", ("serve", "admin"), "")
    commands = [top, *commands_of(parser, "tailrace admin")]
    places = [*commands, *values_of(parser, "tailrace admin")]
    template = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    case = _fish_case if shell == "fish" else _case
    paths = [place.path for place in commands]
    return (
        template.replace("@COMMANDS@", " ".join(f"'{path}'" for path in paths) if shell == "fish" else _either(paths))
        .replace("@PLACES@", "\n".join(case(place) for place in commands))
        .replace("@VALUES@", "\n".join(case(place) for place in places[len(commands) :]))
        .rstrip("\n")
    )


def _either(paths: list[str]) -> str:
    return "|".join(f"'{path}'" for path in paths)


def _case(place: Place) -> str:
    return f"    '{place.path}') next='{' '.join(place.words)}' kind='{place.kind}' ;;"


def _fish_case(place: Place) -> str:
    lines = (f"case '{place.path}'", f"    set next {' '.join(place.words)}", f"    set kind '{place.kind}'")
    return "\n".join(f"        {line}" for line in lines)


_BASH: Final = r"""# bash completion of tailrace
_tailrace() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} place=tailrace next= kind= url= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$place $word" in
        @COMMANDS@) place="$place $word" ;;
        esac
    done
    case "$place" in
@PLACES@
    esac
    case "$place $before" in
@VALUES@
    esac
    if [[ $kind == resources ]]; then kind=$before; fi
    if [[ $COMP_LINE =~ --url[=\ ]+([^\ ]+) ]]; then url=${BASH_REMATCH[1]}; fi
    COMPREPLY=()
    for word in $next; do
        if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
    done
    if [[ -n $kind && $current != -* ]]; then
        if [[ -n $url ]]; then local -x TAILRACE_ADMIN_URL=$url; fi
        while IFS= read -r word; do COMPREPLY+=("$(printf %q "$word")"); done < <(
            "${COMP_WORDS[0]}" admin __complete "$kind" "$current" 2>/dev/null
        )
    fi
}
complete -F _tailrace tailrace
"""

_ZSH: Final = r"""#compdef tailrace
_tailrace() {
    local before=${words[CURRENT-1]} place=tailrace next= kind= url=$TAILRACE_ADMIN_URL word last=
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$place $word" in
        @COMMANDS@) place="$place $word" ;;
        esac
        if [[ $last == --url ]]; then url=$word; fi
        if [[ $word == --url=* ]]; then url=${word#--url=}; fi
        last=$word
    done
    case "$place" in
@PLACES@
    esac
    case "$place $before" in
@VALUES@
    esac
    if [[ $kind == resources ]]; then kind=$before; fi
    compadd -- ${(s: :)next}
    if [[ -n $kind && $PREFIX != -* ]]; then
        compadd -- "${(@f)$(TAILRACE_ADMIN_URL=$url ${words[1]} admin __complete $kind "$PREFIX" 2>/dev/null)}"
    fi
}
if [[ $funcstack[1] == _tailrace ]]; then _tailrace "$@"; else compdef _tailrace tailrace; fi
"""

_FISH: Final = r"""# fish completion of tailrace
function __tailrace
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l before $typed[-1]
    set -l place tailrace
    set -l next
    set -l kind ''
    set -l url $TAILRACE_ADMIN_URL
    set -l last ''
    for word in $typed[2..-1]
        if contains -- "$place $word" @COMMANDS@
            set place "$place $word"
        end
        if test "$last" = --url
            set url $word
        end
        set last $word
    end
    switch "$place"
@PLACES@
    end
    switch "$place $before"
@VALUES@
    end
    if test "$kind" = resources
        set kind $before
    end
    for word in $next
        echo $word
    end
    if test -n "$kind"
        TAILRACE_ADMIN_URL=$url $typed[1] admin __complete $kind "$current" 2>/dev/null
    end
end
complete -c tailrace -f -a '(__tailrace)'
"""
