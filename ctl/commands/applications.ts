import { grantWords } from '../../ipc/values.ts';
import { type Command, changeFlags } from '../command.ts';

const app = { name: 'APP', summary: 'Its id: the name of its desktop entry, without `.desktop`.' };
const many = true as const;

/** Options that say something of an application, and the facts they stand for. */
const factFlags = [
  { name: 'name', value: 'TEXT', summary: 'What people call it.' },
  {
    name: 'profile',
    value: 'PROFILE',
    summary: 'How it is to run.',
    choices: ['standard', 'fast', 'secure'],
  },
  {
    name: 'cpu',
    value: 'NEED',
    summary: 'What it is to have of the processors beside others.',
    choices: ['background', 'normal', 'high'],
  },
  { name: 'memory', value: 'SIZE', summary: 'Memory that it uses at most, such as 2G.' },
  { name: 'storage', value: 'SIZE', summary: 'Space that it takes on the disk.' },
  {
    name: 'security',
    value: 'LEVEL',
    summary: 'How much it is to be kept apart: `required` is as secure or not at all.',
    choices: ['normal', 'sensitive', 'required'],
  },
  {
    name: 'loss-ok',
    value: 'WORD',
    summary: 'Whether the last half minute of its data may be lost in a crash, for speed.',
    choices: ['yes', 'no'],
  },
  { name: 'data', value: 'FOLDER', summary: 'A folder of its data, such as `~/.paint`.', many },
  { name: 'cache', value: 'FOLDER', summary: 'A folder whose loss costs time only.', many },
  {
    name: 'temporary',
    value: 'FOLDER',
    summary: 'A folder that nobody looks for after its end.',
    many,
  },
  {
    name: 'grant',
    value: 'WORD',
    summary: 'A thing of the session that it has when it runs as `secure`.',
    many,
    choices: grantWords,
  },
  {
    name: 'show',
    value: 'FOLDER',
    summary: 'A folder that it can then read, at the same path.',
    many,
    complete: 'folder' as const,
  },
  {
    name: 'share',
    value: 'FOLDER',
    summary: 'A folder that it can then read and write, at the same path.',
    many,
    complete: 'folder' as const,
  },
  {
    name: 'enclave',
    value: 'NAME',
    summary: 'The enclave that is then its home: one of those who start it.',
    complete: 'enclave' as const,
  },
  {
    name: 'executable',
    value: 'PATH',
    summary: 'A program that it is started by.',
    many,
    complete: 'file' as const,
  },
  { name: 'needs', value: 'NAME', summary: 'A package or program that it needs.', many },
  { name: 'category', value: 'WORD', summary: 'A kind of application, such as `Game`.', many },
] as const;

/** Commands about what is known of applications. */
export const applicationCommands = (): readonly Command[] => [
  {
    name: 'app list',
    group: 'Applications',
    summary: 'List applications, each with how it runs.',
    operands: [
      { name: 'TEXT', summary: 'Only those whose id or name has this in it.', optional: true },
    ],
    flags: [],
    examples: [['personactl app list fire', '']],
    load: async () => (await import('../run/applications.ts')).list,
  },
  {
    name: 'app show',
    group: 'Applications',
    summary: 'Show what is known of an application, and who says it.',
    about: [
      'Of all that is said of one thing the first line counts: an administrator before the user, then what was measured, what lists of the machine say, and what its kind of application suggests. The dimmed lines after it are outvoted.',
    ],
    operands: [app],
    flags: [],
    examples: [['personactl app show firefox-esr', '']],
    load: async () => (await import('../run/applications.ts')).show,
  },
  {
    name: 'app explain',
    group: 'Applications',
    summary: 'Explain how an application or a program runs, and what would change that.',
    about: [
      'An application is known by its executables: the very files, not their names. A path is asked about as if that program were started. A name alone never leads to anything but `standard`.',
    ],
    operands: [{ name: 'APP', summary: 'The id of an application, or a path of a program.' }],
    flags: [
      {
        name: 'profile',
        value: 'PROFILE',
        summary: 'As if it were asked for.',
        choices: ['standard', 'fast', 'secure'],
      },
    ],
    examples: [
      ['personactl app explain firefox-esr', ''],
      ['personactl app explain /usr/bin/vim', 'the program of this path'],
    ],
    load: async () => (await import('../run/applications.ts')).explain,
  },
  {
    name: 'app running',
    group: 'Applications',
    summary: 'List your applications that run, and how each runs.',
    about: [
      'Those that were started through personad, and those that desktops start in groups of their own (systemd). What was found running has weights only: another profile needs a start through personad.',
      'Root sees those of everybody.',
    ],
    operands: [],
    flags: [],
    examples: [['personactl app running', '']],
    load: async () => (await import('../run/running.ts')).running,
  },
  {
    name: 'profile verify',
    group: 'Applications',
    summary: 'Check that your applications run as their profiles say.',
    about: [
      'Of each application that runs the kernel is asked whether it is in its control group with its weights, whether nobody but root can change the file of it that runs, whether a `fast` one sees its folders from memory, and whether all walls stand around a `secure` one. Root checks those of everybody.',
      'What this machine or this daemon cannot tell is `unknown`, and has not failed. What starts at this moment may not have everything yet.',
      'Exit status 1 when a check has failed.',
    ],
    operands: [{ ...app, optional: true }],
    flags: [],
    examples: [['personactl profile verify', '']],
    load: async () => (await import('../run/running.ts')).verify,
  },
  {
    name: 'app set',
    group: 'Applications',
    summary: 'Say what is known of an application: for yourself, or as root for everybody.',
    about: [
      'What you say outvotes every list of the machine, and is outvoted by an administrator. Lists of folders and names take the place of what others say.',
      'Folders lie below your home and begin with `~/`; those of --show and --share may lie elsewhere. Data lies in memory only where `--loss-ok yes` was said: in a crash the last half minute of it is lost.',
      'What is granted counts at each start as `secure`, also from menus and shells that start it through personad; more can be granted on the command line of `personactl run`. A folder that is missing keeps it from starting. Grant nothing below a folder that another application may write: it could put a link there.',
      'The same can be written in files: ~/.config/persona/apps.d/NAME.toml, and for everybody /etc/persona/apps.d/NAME.toml, with a section for each application and `loss_ok = true`, `memory = "2G"`, `executables = ["/usr/bin/paint"]`, `grants = ["display"]`, `dependencies`, `categories` and the other options as keys.',
    ],
    operands: [app],
    flags: [
      ...factFlags,
      {
        name: 'unset',
        value: 'OPTION',
        summary: 'Take back what was said with this option.',
        many,
        choices: factFlags.map(({ name }) => name),
      },
      { name: 'all', short: 'a', summary: 'For everybody (root only).' },
      ...changeFlags,
    ],
    examples: [
      ['personactl app set firefox-esr --profile fast --loss-ok yes', ''],
      ['personactl app set keepassxc --security required --all', 'as root, for everybody'],
      [
        'personactl app set paint --profile secure --grant display --share ~/Art',
        'kept apart, but for these',
      ],
      [
        'personactl app set keepassxc --profile secure --enclave safe',
        'with an enclave of its own as home',
      ],
      ['personactl app set firefox-esr --unset profile', 'go by what others say again'],
    ],
    load: async () => (await import('../run/applications.ts')).set,
  },
  {
    name: 'app sync',
    group: 'Applications',
    summary: 'Write back now what your applications have in memory only.',
    about: [
      'Folders of an application with the profile `fast` lie in memory while it runs. By itself everything is written back at least every 30 seconds, and when it has ended. `status` shows since when what was written is in memory only.',
      'For a moment an application stands still for that; one from which this is called (the terminal, say) does not: where it writes into mapped files it is written back at the next regular time instead.',
    ],
    operands: [{ ...app, optional: true }],
    flags: [
      {
        name: 'within',
        value: 'SECONDS',
        summary: 'Wait no longer (at most 100); what is not on the disk then is named.',
      },
    ],
    examples: [
      ['personactl app sync', ''],
      [
        'personactl app sync --within 25',
        'as the service personad-save does before the machine sleeps',
      ],
    ],
    load: async () => (await import('../run/app-sync.ts')).sync,
  },
  {
    name: 'app import',
    group: 'Applications',
    summary: "Read again what your files, and for root the machine's lists, tell.",
    about: [
      'Read where they lie, and never run: desktop entries, profiles of firejail, rules of ananicy, browsers of profile-sync-daemon, profiles of tuned, what dpkg knows, and files of apps.d. Lines that cannot be understood are told. By itself the daemon reads them when they have changed.',
    ],
    operands: [],
    flags: [],
    examples: [['personactl app import', '']],
    load: async () => (await import('../run/applications.ts')).importAgain,
  },
  {
    name: 'app apart',
    group: 'Applications',
    summary: 'List what runs as `secure`, and what keeps it apart.',
    about: ['Yours; for root those of everybody, also of what was started before the daemon was.'],
    operands: [],
    flags: [],
    examples: [['personactl app apart', '']],
    load: async () => (await import('../run/apart.ts')).apart,
  },
  {
    name: 'app hook',
    group: 'Applications',
    summary: 'Have an application start through personad from menus, or list those that do.',
    about: [
      'Writes an entry of your own beside that of the machine, in ~/.local/share/applications: the same, but started by `persona-run`. It is taken off again by --disable. An entry that you wrote or edited yourself is left alone.',
      'Where the launcher is gone, or the daemon does not answer, the application starts as it always has. One that somebody has stated to be `secure`, or `required`, is not started then, and a message on the desktop says so; the same goes for its commands. Its hook has that in it, so --enable asks the daemon; one that was made before such a word, or before its end, is listed as `stale` until it is made anew.',
      'With --shell functions are printed that do the same for commands that are typed, to be read by the shell as it starts. Without a daemon there are none; a function of your own is left alone, and scripts are.',
    ],
    operands: [{ name: 'APP', summary: 'Id of the application.', optional: true }],
    flags: [
      {
        name: 'enable',
        summary: 'Make the hook, or make it anew after an update or another word.',
      },
      { name: 'disable', summary: 'Take the hook off.' },
      {
        name: 'shell',
        value: 'SHELL',
        summary: 'Print functions for a shell instead, for all whose profile somebody has stated.',
        choices: ['bash', 'zsh', 'fish'],
      },
    ],
    exclusive: [['enable', 'disable', 'shell']],
    examples: [
      ['personactl app hook firefox-esr --enable', ''],
      ['personactl app hook', 'what has a hook'],
      [
        'source <(personactl app hook --shell bash)',
        'in ~/.bashrc; `personad_unhook` takes it off',
      ],
    ],
    load: async () => (await import('../run/app-hook.ts')).hook,
  },
];
