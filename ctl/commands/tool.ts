import type { Command } from '../command.ts';

/** Commands about the tool itself. */
export const toolCommands = (): readonly Command[] => [
  {
    name: 'help',
    group: 'Tool',
    summary: 'Show help for a command, or a topic: exit, environment.',
    operands: [
      {
        name: 'COMMAND',
        summary: 'The command, in one or two words.',
        optional: true,
        complete: 'command',
      },
      { name: 'SUBCOMMAND', summary: 'Its second word.', optional: true },
    ],
    flags: [],
    examples: [
      ['personactl help swap', ''],
      ['personactl help exit', 'what the exit statuses mean'],
    ],
    load: async () => (await import('../run/help.ts')).help,
  },
  {
    name: 'completion',
    group: 'Tool',
    summary: 'Print the completion script for a shell.',
    operands: [{ name: 'SHELL', summary: 'bash, zsh or fish.', choices: ['bash', 'zsh', 'fish'] }],
    flags: [],
    examples: [
      ['source <(personactl completion bash)', 'completion in this shell'],
      ['personactl completion fish > ~/.config/fish/completions/personactl.fish', ''],
    ],
    load: async () => (await import('../run/completion.ts')).completion,
  },
  {
    name: '__complete',
    summary: 'Print what may follow the words so far, for completion scripts.',
    operands: [],
    rest: { name: 'WORD...', summary: 'The words of the line; the last is being typed.' },
    flags: [],
    examples: [],
    load: async () => (await import('../run/complete.ts')).complete,
  },
];
