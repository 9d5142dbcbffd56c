import type { Command } from '../command.ts';
import { grantFlags } from './grants.ts';

/** The command that starts applications. */
export const runCommands = (): readonly Command[] => [
  {
    name: 'run',
    group: 'Everyday',
    summary: 'Start an application with the profile that is right for it.',
    about: [
      'The daemon is asked how APP is to be started, and this process becomes COMMAND: same terminal, environment and descriptors, and its exit status. APP is the id of the application, as its desktop entry is called.',
      'Without an answer within a quarter of a second the application starts as `standard`, and that is said. With `--profile secure` nothing is started then.',
      'As `secure` it runs apart from everything else: its home is an enclave of yours, which must be open, and it has no network, display, sound or bus unless they are granted. Without that nothing is started; so it is with any grant and with --enclave.',
      '`persona-run [--profile PROFILE] [--quiet] [--enclave NAME] [GRANT...] APP -- COMMAND` is the same as a small native program: it costs a millisecond.',
      'Exit status of its own: 125, nothing was started; 126, COMMAND cannot be executed; 127, there is no such program.',
    ],
    operands: [{ name: 'APP', summary: 'Id of the application.' }],
    rest: { name: 'COMMAND [ARGUMENT...]', summary: 'The program to become.' },
    flags: [
      {
        name: 'profile',
        value: 'PROFILE',
        summary: 'Ask for this profile.',
        choices: ['standard', 'fast', 'secure'],
      },
      {
        name: 'enclave',
        value: 'NAME',
        summary:
          'The enclave that is its home, as `secure`. Not needed by who has only one, or has stated it (`app set`).',
        complete: 'enclave',
      },
      ...grantFlags,
      { name: 'dry-run', short: 'n', summary: 'Print how it would be started, and start nothing.' },
    ],
    examples: [
      ['personactl run firefox-esr -- firefox-esr', 'as the daemon says'],
      ['personactl run --profile secure keys -- sqlite3 keys.db', 'apart, with an enclave as home'],
      ['personactl run --dry-run gimp -- gimp', 'only what it would say'],
    ],
    load: async () => (await import('../run/run.ts')).run,
  },
];
