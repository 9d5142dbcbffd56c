import { PersonaError } from '../../ipc/errors.ts';
import { accountOf } from '../kernel/accounts.ts';
import { shownTree, TREE } from '../kernel/flip.ts';
import { terminalFilter } from '../kernel/seccomp.ts';
import { LAUNCHER_ENVIRONMENT, setenvOptions } from './exec-environment.ts';
import { type Grants, grantOptions, kindIn } from './exec-grants.ts';
import { type ExecData, identityOf } from './exec-identity.ts';
import { anchorOf, type SlotRoom } from './slot-room.ts';
import type { Generation, Slot } from './slot-rows.ts';

/** How the caller's own process starts a program in a slot. */
export interface ExecPlan {
  slot: string;
  generation: number;
  /** The words before the command, the program first. */
  argv: string[];
  environment: Record<string, string>;
  /** Seccomp program that argv expects on this descriptor. */
  seccomp: { fd: number; program: string };
  /** Texts that it expects on others. */
  data: ExecData[];
  notes: string[];
}

export interface ExecRequest {
  slot: string;
  caller: { uid: number; gid: number };
  grants: Grants;
  /** Working folder inside. */
  folder?: string | undefined;
}

const BWRAP = '/usr/bin/bwrap';
const NSENTER = '/usr/bin/nsenter';
/** Behind the three standard streams. */
const SECCOMP_FD = 3;
/** Folders that get a fresh file system; the first two must be there, because programs cannot run without. */
const NEEDED = ['/proc', '/dev'];
const FRESH = ['/tmp', '/run'];
/** What root inside keeps of root's powers: those of a plain container. The namespace confines even these. */
const KEPT_CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'SETFCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'AUDIT_WRITE',
];

function checkCaller(slot: Slot, uid: number): void {
  if (uid === slot.owner) return;
  throw new PersonaError('permission-denied', {
    reason:
      uid === 0
        ? `slot ${slot.name} belongs to uid ${slot.owner}; start programs in it as that user`
        : `slot ${slot.name} belongs to another user`,
  });
}

/** Root enters the slot's user namespace first: it is root there, and nobody outside. */
function rootPrefix(room: SlotRoom, slot: Slot): string[] {
  const place = room.namespaces.place(slot);
  if (place === undefined || !room.ways.idmap) {
    throw new PersonaError('capability-missing', { capability: 'idmapped-layers' });
  }
  return [NSENTER, `--user=${place}`, '--setuid', '0', '--setgid', '0', '--'];
}

function treeOptions(tree: string, notes: string[]): string[] {
  for (const folder of NEEDED) {
    if (kindIn(tree, folder) === 'folder') continue;
    throw new PersonaError('bad-value', { name: 'persona', reason: `it has no folder ${folder}` });
  }
  const options = ['--bind', tree, '/', '--proc', '/proc', '--dev', '/dev'];
  for (const folder of FRESH) {
    if (kindIn(tree, folder) === 'folder') options.push('--tmpfs', folder);
    else notes.push(`the persona has no folder ${folder}: it stays as it is`);
  }
  return options;
}

function identityOptions(grants: Grants, uid: number): string[] {
  if (uid === 0) {
    return [
      '--cap-drop',
      'ALL',
      ...KEPT_CAPABILITIES.flatMap((name) => ['--cap-add', `CAP_${name}`]),
    ];
  }
  return grants.root === true ? ['--unshare-user', '--uid', '0', '--gid', '0'] : ['--unshare-user'];
}

function namespaceOptions(grants: Grants, slot: string): string[] {
  const net = grants.net === true ? [] : ['--unshare-net'];
  return [
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup-try',
    '--hostname',
    slot,
    ...net,
  ];
}

function personaEnvironment(slot: Slot, generation: Generation): Record<string, string> {
  return {
    PATH: LAUNCHER_ENVIRONMENT.PATH,
    ...generation.environment,
    PERSONA_SLOT: slot.name,
    ...(generation.persona === undefined ? {} : { PERSONA: generation.persona.name }),
  };
}

/**
 * How to start a program in what the slot shows now, as the calling user: own pid, ipc, uts and net namespaces, a fresh /proc,
 * a minimal /dev, empty /tmp and /run, no home; terminals cannot be typed into. What else it gets stands in `grants`.
 */
export async function execPlan(room: SlotRoom, request: ExecRequest): Promise<ExecPlan> {
  const { caller, grants, folder } = request;
  const slot = room.book.slot(request.slot);
  checkCaller(slot, caller.uid);
  const generation = room.book.current(slot);
  if (generation === undefined || shownTree(anchorOf(room, slot.name)) === undefined) {
    throw new PersonaError('slot-empty', { slot: slot.name });
  }
  if (room.moving.has(slot.name))
    throw new PersonaError('in-use', { what: `slot ${slot.name}`, by: 'a move to another place' });
  if (caller.uid !== 0 && !room.able('user-namespaces'))
    throw new PersonaError('user-namespaces-off');
  await room.namespaces.of(slot);
  const notes: string[] = [];
  const tree = `${anchorOf(room, slot.name)}/${TREE}`;
  const account = accountOf(caller.uid);
  const place = { tree, uid: caller.uid, account, notes };
  const { options: identity, data } =
    caller.uid === 0 || grants.root === true
      ? { options: ['--setenv', 'HOME', '/root'], data: [] }
      : identityOf(place, caller.gid, SECCOMP_FD + 1);
  const argv = [
    ...(caller.uid === 0 ? rootPrefix(room, slot) : []),
    BWRAP,
    ...identityOptions(grants, caller.uid),
    ...namespaceOptions(grants, slot.name),
    ...treeOptions(tree, notes),
    ...identity,
    ...setenvOptions(personaEnvironment(slot, generation), notes),
    ...grantOptions(grants, place),
    '--chdir',
    folder ?? (grants.home === true ? (account?.home ?? '/') : '/'),
    '--seccomp',
    String(SECCOMP_FD),
    '--',
  ];
  return {
    slot: slot.name,
    generation: generation.number,
    argv,
    environment: { ...LAUNCHER_ENVIRONMENT },
    seccomp: { fd: SECCOMP_FD, program: terminalFilter().toString('base64') },
    data,
    notes,
  };
}
