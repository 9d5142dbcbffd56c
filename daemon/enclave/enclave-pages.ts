import { accountOf } from '../kernel/accounts.ts';
import { memoryProtection } from '../kernel/assurances.ts';
import { exists } from '../kernel/files.ts';
import { lockedMemoryProblem } from '../kernel/locked-memory.ts';
import { protectionText, sameUserOf } from '../kernel/processor-protection.ts';
import { closesBeforeSleep } from '../kernel/sleep-unit.ts';
import { missingText } from './blocks.ts';
import { type Enclave, keyWords, type Way } from './enclave-rows.ts';
import { derivationText } from './key-derivation.ts';
import { readKeyRecord } from './key-record.ts';
import { anchorOf, type EnclaveRoom, keyFileOf, recoveryFileOf, volumeOf } from './room.ts';
import { sleepDeadlineMs } from './sleep.ts';
import { insideOf, isHeld, isShown } from './volume.ts';

/** Of one that was closed while somebody used it. */
const stillHeld: Record<Way, string> = {
  fscrypt: 'a program still holds a file of it, and can read that until it ends',
  luks2:
    'a program, or a mount namespace, still holds it: its key is gone, and what of it is in the page cache goes with the last of them',
};

/** What is shown of an enclave. */
export async function enclavePage(room: EnclaveRoom, enclave: Enclave) {
  const { name, id, owner, bytes, key, credential, createdMs, opened } = enclave;
  const isOpen = opened !== undefined && isShown(room, name);
  const there = (await exists(volumeOf(room, enclave))) && (await exists(keyFileOf(room, id)));
  const account = accountOf(owner);
  const problem = (await isHeld(room, enclave))
    ? stillHeld[enclave.way]
    : (room.problems.get(name) ?? missingText(room, enclave));
  const inside = isOpen ? await insideOf(room, enclave) : [];
  return {
    name,
    owner: { uid: owner, ...(account === undefined ? {} : { name: account.name }) },
    bytes,
    type: enclave.way,
    key,
    ...(credential === undefined ? {} : { credential }),
    ...((await exists(recoveryFileOf(room, id))) && { recovery: true as const }),
    state: isOpen ? ('open' as const) : there ? ('closed' as const) : ('missing' as const),
    path: anchorOf(room, name),
    createdMs,
    ...(isOpen ? { openedMs: opened.ms } : {}),
    ...(isOpen && opened.idleMs !== undefined ? { idleMs: opened.idleMs } : {}),
    ...(isOpen && opened.beforeSleep === true ? { beforeSleep: true as const } : {}),
    ...(problem === undefined ? {} : { problem }),
    inside: inside.map(({ pid, uid, name: command }) => ({ pid, uid, command })),
  };
}

/** How the files of an enclave lie on the disk. */
export const diskTexts: Record<Way, string> = {
  fscrypt:
    'aes-256-xts fscrypt v2, names aes-256-cts; sizes, times and the number of files are not hidden, and nothing notices when somebody alters the volume',
  luks2:
    'aes-xts-256 luks2; which blocks were ever written is not hidden, and nothing notices when somebody alters the volume',
};

/** Who is kept out by what, and who is not: said as it is. */
export async function assuranceOf(room: EnclaveRoom, enclave: Enclave) {
  const { hardware, encryption, swap, processor, ptraceScope } = memoryProtection();
  const unlocked = lockedMemoryProblem();
  return {
    hardware,
    hardwareUsed: false as const,
    memory: encryption,
    protection: protectionText(processor),
    sameUser: sameUserOf(ptraceScope),
    swap,
    disk: diskTexts[enclave.way],
    key: await keyText(room, enclave),
    keyMemory:
      unlocked === undefined
        ? 'locked and wiped in our memory; copies that the runtime, the socket and the kernel make for a moment are not ours to wipe'
        : `wiped, but not locked in our memory (${unlocked})`,
    sleep: sleepText(enclave),
    reach: reachOf(enclave, await exists(recoveryFileOf(room, enclave.id))),
  };
}

async function keyText(room: EnclaveRoom, { id, key, credential }: Enclave): Promise<string> {
  try {
    const { derivation } = await readKeyRecord(keyFileOf(room, id), id);
    const from =
      credential !== undefined
        ? ` of credential ${credential}, which the service manager keeps for the daemon`
        : key === 'tpm2'
          ? ' of 32 random bytes, sealed by the TPM 2.0 of this machine, whatever is started on it'
          : '';
    return `aes-256-gcm under ${derivationText(derivation)}${from}`;
  } catch {
    return (await exists(recoveryFileOf(room, id)))
      ? 'lost: only its recovery key opens this enclave'
      : 'lost: nobody can open this enclave';
  }
}

/** What closing leaves in memory while a program holds something open. */
const heldTexts: Record<Way, string> = {
  fscrypt:
    'a file that a program holds open stays readable to it, and the key of that one file in memory',
  luks2:
    'of a file that a program holds open, what is in the page cache stays readable to it, and no key in memory',
};

function sleepText({ opened, way }: Enclave): string {
  if (opened?.beforeSleep !== true)
    return 'does not close it: an open enclave stays open through it, with its key in memory, unless it was opened to be closed before it';
  return closesBeforeSleep()
    ? `closes it, unless that takes more than ${sleepDeadlineMs / 1000} s; ${heldTexts[way]}`
    : 'does not close it, though that was asked for: nothing here runs `personactl enclave sleep` before it (`systemctl enable personad-sleep.service`)';
}

function reachOf({ owner, key }: Enclave, recovery: boolean): { closed: string[]; open: string[] } {
  return {
    closed: [
      'whoever has the disk, and root: the encrypted volume, to copy, alter, or destroy; not what is in it',
      key === 'tpm2'
        ? 'root on this machine, and whoever can start a system of his own on it: everything, for its TPM asks nobody; the disk in another machine: nothing'
        : `whoever learns the ${keyWords[key]} and has the volume with its key record: everything`,
      ...(recovery
        ? ['whoever learns its recovery key and has the volume with its key record: everything']
        : []),
      ...(key === 'credential'
        ? [
            'root on this machine: everything, for the running service holds the credential, and so does the file or unit that it was loaded from; encrypted to a TPM or the host (systemd-creds), only a thief of the disk is kept out',
          ]
        : []),
    ],
    open: [
      'root: every file, by its path and by the memory of the kernel and of programs',
      `every program of uid ${owner}: every file; it needs no launch for that`,
      'other users: nothing, unless a program inside hands it to them',
    ],
  };
}
