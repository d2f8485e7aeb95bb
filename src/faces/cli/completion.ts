/**
 * Shell completion, generated from the commands themselves, so that it cannot lag behind them. Words and options of each
 * command, nothing that would have to ask a store: pressing Tab must not wait for a network.
 */
import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export interface CompletionNode {
  /** Words from the program's name: "snapshot create"; empty for the program itself. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly description: string }[];
  readonly options: readonly { readonly flag: string; readonly description: string; readonly takesValue: boolean }[];
}

/** One node a command, the program first. */
export function completionNodes(program: Command): readonly CompletionNode[] {
  const nodes: CompletionNode[] = [];
  const visit = (command: Command, path: readonly string[]): void => {
    const { commands, options } = command;
    nodes.push({
      path: path.join(' '),
      words: commands.map((child) => ({ word: child.name(), description: child.description() })),
      options: options.flatMap((option) =>
        [option.long, option.short].flatMap((flag) =>
          flag === undefined || flag === null
            ? []
            : [{ flag, description: option.description, takesValue: option.required || option.optional }],
        ),
      ),
    });
    for (const child of commands) visit(child, [...path, child.name()]);
  };
  visit(program, []);
  return nodes;
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const wordsOf = ({ words, options }: CompletionNode): string =>
  [...words.map(({ word }) => word), ...options.map(({ flag }) => flag)].join(' ');

/** The known words before the cursor name the command; what follows it is completed as a file where an option takes a value. */
const BASH_FUNCTION = `_holdfast() {
  local current=\${COMP_WORDS[COMP_CWORD]} path= word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ -n \${_holdfast_words["\${path:+$path }$word"]+set} ]] && path="\${path:+$path }$word"
  done
  COMPREPLY=($(compgen -W "\${_holdfast_words["\${path:-.}"]}" -- "$current"))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _holdfast holdfast
`;

const bash = (nodes: readonly CompletionNode[]): string =>
  `# holdfast completion for bash: source <(holdfast completion bash)
declare -A _holdfast_words=(
${nodes.map((node) => `  [${quote(node.path || '.')}]=${quote(wordsOf(node))}`).join('\n')}
)
${BASH_FUNCTION}`;

const zshItem = (word: string, description: string): string => quote(`${word}:${description.replaceAll(':', '\\:')}`);

const zsh = (nodes: readonly CompletionNode[]): string =>
  `#compdef holdfast
# holdfast completion for zsh: holdfast completion zsh > "\${fpath[1]}/_holdfast"
_holdfast() {
  local cmd= word
  local -a items
  for word in \${words[2,CURRENT-1]}; do
    case "\${cmd:+$cmd }$word" in
${nodes
  .filter((node) => node.path !== '')
  .map((node) => `      ${quote(node.path)}) cmd=${quote(node.path)} ;;`)
  .join('\n')}
    esac
  done
  case "$cmd" in
${nodes
  .map(
    (node) =>
      `    ${quote(node.path)}) items=(${[...node.words.map((one) => zshItem(one.word, one.description)), ...node.options.map((one) => zshItem(one.flag, one.description))].join(' ')}) ;;`,
  )
  .join('\n')}
  esac
  _describe 'holdfast' items || _files
}
if [ "$funcstack[1]" = _holdfast ]; then _holdfast "$@"; else compdef _holdfast holdfast; fi
`;

/** fish: holds when the words given so far, without options, are exactly these. */
const fishLine = (path: string, rest: string): string => `complete -c holdfast -n ${quote(`__holdfast_at ${path || '.'}`)} ${rest}`;

const fish = (nodes: readonly CompletionNode[]): string =>
  `# holdfast completion for fish: holdfast completion fish > ~/.config/fish/completions/holdfast.fish
function __holdfast_at
    set -l known ${nodes
      .filter((node) => node.path !== '')
      .map((node) => quote(node.path))
      .join(' ')}
    set -l path
    for word in (commandline -opc)[2..]
        set -l next (string trim "$path $word")
        contains -- "$next" $known; and set path $next
    end
    test -z "$path"; and set path .
    test "$path" = "$argv"
end
${nodes
  .flatMap((node) => [
    ...node.words.map((one) => fishLine(node.path, `-f -a ${one.word} -d ${quote(one.description)}`)),
    ...node.options
      .filter((one) => one.flag.startsWith('--'))
      .map((one) => fishLine(node.path, `-l ${one.flag.slice(2)}${one.takesValue ? ' -r' : ''} -d ${quote(one.description)}`)),
  ])
  .join('\n')}
`;

const SCRIPTS: Readonly<Record<Shell, (nodes: readonly CompletionNode[]) => string>> = { bash, zsh, fish };

export const completionScript = (program: Command, shell: Shell): string => SCRIPTS[shell](completionNodes(program));
