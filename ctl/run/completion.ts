import type { Call } from '../call.ts';

/**
 * Completion scripts. The words themselves come from `personactl __complete`, which reads the same
 * table as everything else, so a script never grows old.
 */
const scripts: Readonly<Record<string, string>> = {
  bash: `# bash completion for personactl
_personactl() {
  local line word
  COMPREPLY=()
  while IFS= read -r line; do
    word=\${line%%$'\\t'*}
    case $word in
      :file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
      :folder) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
      *) COMPREPLY+=("$word") ;;
    esac
  done < <(personactl __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _personactl personactl
`,
  zsh: `#compdef personactl
_personactl() {
  local line word
  local -a found
  while IFS= read -r line; do
    word=\${line%%$'\\t'*}
    case $word in
      :file) _files; return ;;
      :folder) _files -/; return ;;
      *) found+=("\${word//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done < <(personactl __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe personactl found
}
if [[ $funcstack[1] == _personactl ]]; then
  _personactl "$@"
else
  compdef _personactl personactl
fi
`,
  fish: `# fish completion for personactl
function __personactl_words
    set -l words (commandline -opc) (commandline -ct)
    for line in (personactl __complete -- $words[2..-1] 2>/dev/null)
        switch $line
            case ':file*'
                __fish_complete_path (commandline -ct)
            case ':folder*'
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $line
        end
    end
end
complete -c personactl -f -a '(__personactl_words)'
`,
};

/** `personactl completion SHELL` */
export async function completion(call: Call): Promise<undefined> {
  const shell = call.operand('SHELL');
  const script = scripts[shell] ?? '';
  if (call.out.json) call.out.result({ shell, script }, () => []);
  else call.io.out.write(script);
}
