import { type Command, changeFlags, type Flag } from '../command.ts';

const enclave = {
  name: 'ENCLAVE',
  summary: 'Name of the enclave.',
  complete: 'enclave',
} as const;

const keyFile: Flag = {
  name: 'key-file',
  value: 'FILE',
  summary: 'A file in the place of a passphrase; "-" is the standard input.',
  complete: 'file',
};

const credential: Flag = {
  name: 'credential',
  value: 'NAME',
  summary: 'A credential of the service in the place of a passphrase (root).',
};

const tpm2: Flag = {
  name: 'tpm2',
  summary: 'The TPM of the machine has the key: nothing is asked for.',
};

const recovery: Flag = {
  name: 'recovery',
  summary: 'Its recovery key is asked for, in the place of what opens it else.',
};

const ofTpm =
  'With --tpm2 the enclave opens on this machine only, and by no passphrase: a TPM that breaks or is cleared loses it, unless `personactl enclave recovery` has made another way in. It keeps out who has the disk, not who has the machine.';

const ofCredential =
  'A credential is what an administrator has given to the service: `systemctl edit personad`, LoadCredentialEncrypted= or LoadCredential= (systemd-creds(1)), and a restart. What SetCredential= puts into a unit every user can read. A service with a credential that cannot be loaded does not start.';

const asked =
  'The passphrase is asked for on the terminal; without one it is the first line of the standard input. It stands in no argument, variable or file.';

/** Commands about encrypted volumes. */
export const enclaveCommands = (): readonly Command[] => [
  {
    name: 'enclave create',
    group: 'Enclaves',
    summary: 'Make an encrypted volume of your own.',
    about: [
      'Its space is set aside at once, so that it never fills up from outside. It is closed; `personactl enclave open` opens it.',
      asked,
      ofCredential,
      ofTpm,
      'A passphrase or key file that is lost cannot be replaced: without a recovery key (`personactl enclave recovery`) nobody can open the enclave then. `personactl backup` does not hold enclaves.',
    ],
    operands: [{ name: 'NAME', summary: 'Name of the new enclave.' }],
    flags: [
      { name: 'size', short: 's', value: 'SIZE', summary: 'Its size, such as 500M or 4G.' },
      {
        name: 'type',
        value: 'TYPE',
        summary: 'How it is encrypted: auto (luks2 where it can be), luks2 or fscrypt.',
        choices: ['auto', 'luks2', 'fscrypt'],
      },
      keyFile,
      credential,
      tpm2,
      ...changeFlags,
    ],
    required: [['size']],
    exclusive: [['key-file', 'credential', 'tpm2']],
    examples: [
      ['personactl enclave create vault --size 1G', 'asks for a passphrase, twice'],
      ['personactl enclave create vault --size 1G --key-file vault.key', ''],
    ],
    load: async () => (await import('../run/enclaves.ts')).create,
  },
  {
    name: 'enclave open',
    group: 'Enclaves',
    summary: 'Open an enclave: its files are there for its owner.',
    about: [
      asked,
      'It stays open, also when the daemon stops, until it is closed or the machine is switched off. Sleep closes it only with --close-on-suspend.',
    ],
    operands: [enclave],
    flags: [
      keyFile,
      credential,
      tpm2,
      recovery,
      {
        name: 'idle',
        value: 'SECONDS',
        summary: 'Close it when nobody has used it for so long (at least 10).',
      },
      {
        name: 'close-on-suspend',
        summary: 'Close it before the machine sleeps, also while programs use it.',
      },
      ...changeFlags,
    ],
    exclusive: [['key-file', 'credential', 'tpm2', 'recovery']],
    examples: [
      ['personactl enclave open vault --idle 600', ''],
      ['personactl enclave open vault --credential vault-key', 'for root'],
    ],
    load: async () => (await import('../run/enclaves.ts')).open,
  },
  {
    name: 'enclave close',
    group: 'Enclaves',
    summary: 'Close an enclave that nobody uses, and forget its key.',
    about: [
      'With --force also one that programs use: they are not ended, and what they have open stays readable and writable to them, and to nobody else, until they end. Everything else is out of their reach.',
    ],
    operands: [enclave],
    flags: [{ name: 'force', summary: 'Also while programs use it.' }, ...changeFlags],
    examples: [['personactl enclave close vault', '']],
    load: async () => (await import('../run/enclaves.ts')).close,
  },
  {
    name: 'enclave sleep',
    group: 'Enclaves',
    summary: 'Close what was opened with --close-on-suspend (root).',
    about: [
      'The service personad-sleep runs this before the machine sleeps. Where there is no systemd, whatever runs programs before sleep has to. It takes no more than a few seconds; what is still open then is named, and the exit status is not 0.',
    ],
    operands: [],
    flags: [],
    examples: [['personactl enclave sleep', '']],
    load: async () => (await import('../run/enclaves.ts')).sleep,
  },
  {
    name: 'enclave passwd',
    group: 'Enclaves',
    summary: 'Change what opens an enclave: another passphrase, or another kind of key.',
    about: [
      asked,
      'The present key comes first, then the new one. What is in the enclave stays as it is, encrypted under the same key, of which only the wrapping is made anew: who has copied its key record before, and knows the old passphrase, still opens a copy.',
    ],
    operands: [enclave],
    flags: [
      keyFile,
      credential,
      tpm2,
      recovery,
      {
        name: 'new-key-file',
        value: 'FILE',
        summary: 'From now on a file opens it.',
        complete: 'file',
      },
      {
        name: 'new-credential',
        value: 'NAME',
        summary: 'From now on a credential of the service opens it (root).',
      },
      { name: 'new-tpm2', summary: 'From now on the TPM of the machine opens it.' },
      ...changeFlags,
    ],
    exclusive: [
      ['key-file', 'credential', 'tpm2', 'recovery'],
      ['new-key-file', 'new-credential', 'new-tpm2'],
    ],
    examples: [
      ['personactl enclave passwd vault', 'asks for the passphrase, and twice for the new one'],
      ['personactl enclave passwd vault --key-file old.key --new-key-file new.key', ''],
    ],
    load: async () => (await import('../run/enclaves.ts')).passwd,
  },
  {
    name: 'enclave recovery',
    group: 'Enclaves',
    summary: 'Make a recovery key: a second way into an enclave.',
    about: [
      'It is drawn here (260 bits) and shown once: write it down, and keep it elsewhere. It opens the enclave on any machine that has the volume with its key records, whatever becomes of the passphrase, key file, credential or TPM. Another one takes its place; `personactl enclave passwd` leaves it as it is.',
      asked,
    ],
    operands: [enclave],
    flags: [keyFile, credential, tpm2, ...changeFlags.filter(({ name }) => name !== 'no-wait')],
    exclusive: [['key-file', 'credential', 'tpm2']],
    examples: [
      ['personactl enclave recovery vault', 'asks for the passphrase'],
      ['personactl enclave passwd vault --recovery', 'another passphrase, for who has lost his'],
    ],
    load: async () => (await import('../run/enclave-recovery.ts')).recovery,
  },
  {
    name: 'enclave rm',
    group: 'Enclaves',
    summary: 'Destroy a closed enclave: its key first, then its volume.',
    about: [
      'What was in it is lost, also for who knows the passphrase and has a copy of the volume.',
    ],
    operands: [enclave],
    flags: [...changeFlags],
    examples: [['personactl enclave rm vault', '']],
    load: async () => (await import('../run/enclaves.ts')).remove,
  },
  {
    name: 'enclave list',
    group: 'Enclaves',
    summary: 'List your enclaves; for root, all.',
    operands: [],
    flags: [],
    examples: [['personactl enclave list --json', 'for programs']],
    load: async () => (await import('../run/enclaves.ts')).list,
  },
  {
    name: 'enclave show',
    group: 'Enclaves',
    summary: 'Show an enclave, and who is kept out of it by what.',
    operands: [enclave],
    flags: [],
    examples: [['personactl enclave show vault', '']],
    load: async () => (await import('../run/enclaves.ts')).show,
  },
];
