import { resolve } from 'node:path';
import { type Client, connect, socketPaths } from '../../ipc/client.ts';
import { fromWire, PersonaError, toWire } from '../../ipc/errors.ts';
import type { Answer, Params } from '../../ipc/methods/index.ts';
import { grantWords } from '../../ipc/values.ts';
import { type Call, runFolder } from '../call.ts';
import { inTime } from '../deadline.ts';
import { become, type FoundProgram, findProgram, isFollowable } from '../launch/become.ts';
import { cannotExecute, notThere, ownFailure } from '../launch/exit-status.ts';
import { known } from '../perform.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { assuranceLines } from './apart.ts';

type LaunchPlan = Answer<'launch.plan'>;
type Asked = Params<'launch.plan'>;

/** A launch waits no longer for the daemon; what does not start without an answer can wait for others to get theirs. */
const budgetMs = 250;
const closedBudgetMs = 3000;

/** How a program starts that nobody has a word on. */
const plain = { argv: [], environment: { set: {}, unset: [] }, notices: [] };

/** True when nothing is to start without an answer: who grants something counts on everything else being kept from the program. */
const failsClosed = ({ profile, grants, enclave }: Asked): boolean =>
  profile === 'secure' || grants !== undefined || enclave !== undefined;

/** What a launcher comes again after: too many ask at once. */
const crowded = ['too-many-requests', 'connection-lost'];
const firstRestMs = 16;
const lastRestMs = 128;

async function once(call: Call, asked: Asked, leftMs: number): Promise<LaunchPlan> {
  let client: Client | undefined;
  const answer = async () => {
    client = await connect(socketPaths(runFolder(call.io.env)));
    return await client.call('launch.plan', asked);
  };
  try {
    return await inTime(answer(), leftMs, 'asking the daemon');
  } finally {
    client?.close();
  }
}

async function ask(call: Call, asked: Asked): Promise<LaunchPlan> {
  const closed = failsClosed(asked);
  const untilMs = performance.now() + (closed ? closedBudgetMs : budgetMs);
  for (let pauseMs = firstRestMs; ; pauseMs = Math.min(pauseMs * 2, lastRestMs)) {
    try {
      return await once(call, asked, untilMs - performance.now());
    } catch (error) {
      const restMs = pauseMs * (1 + Math.random());
      const again = error instanceof PersonaError && crowded.includes(error.code);
      if (!closed || !again || performance.now() + restMs > untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  }
}

/** The answer of the daemon; without one that of nobody, unless that would be less than was asked for. */
async function planOf(call: Call, asked: Asked): Promise<Omit<LaunchPlan, 'app'> | typeof plain> {
  try {
    const plan = await ask(call, asked);
    if (!isFollowable(plan))
      throw new PersonaError('bad-value', { name: 'plan', reason: 'it makes no sense' });
    if (!failsClosed(asked) || plan.profile === 'secure') return plan;
    const reason = 'the daemon answered with another profile';
    throw new PersonaError('profile-unavailable', { app: asked.app, profile: 'secure', reason });
  } catch (error) {
    const closed = failsClosed(asked) || !(error instanceof PersonaError);
    if (closed || error.code === 'profile-unavailable') throw error;
    call.out.note(say`personactl: ${asked.app} starts as standard: ${error.message}`);
    return plain;
  }
}

function planLines(plan: LaunchPlan, { path }: FoundProgram, style: Style): Safe[] {
  const { app, profile, rule, reason, placement, argv, environment } = plan;
  const set = Object.entries(environment.set).map(([name, value]) => say`set  ${name}=${value}`);
  return [
    say`${app} would start as ${profile}`,
    say`  ${rule}  ${reason}`,
    say`program  ${path}`,
    placement.state === 'none'
      ? say`no group of its own: ${placement.reason}`
      : say`group  ${placement.group}`,
    ...(argv.length === 0 ? [] : [say`behind  ${argv.join(' ')}`]),
    ...set,
    ...environment.unset.map((name) => say`unset  ${name}`),
    ...(environment.keep === undefined ? [] : [say`kept  ${environment.keep.join(' ')}`]),
    ...(plan.filter === undefined ? [] : [say`filter  ${plan.filter}`]),
    ...plan.notices.map((notice) => say`! ${notice}`),
    ...(plan.assurance === undefined ? [] : assuranceLines(plan.assurance, style)),
  ];
}

function programOf(command: string, env: Call['io']['env']): FoundProgram {
  const found = findProgram(command, env);
  if (typeof found !== 'string') return found;
  const error =
    found === 'absent'
      ? new PersonaError('file-not-found', { path: command })
      : new PersonaError('bad-value', { name: command, reason: 'it cannot be executed' });
  error.exit = found === 'absent' ? notThere : cannotExecute;
  throw error;
}

function grantsOf(call: Call): Pick<Asked, 'grants'> {
  const folders = (name: 'show' | 'share') =>
    call.list(name).map((path) => ({ [name]: resolve(call.io.cwd(), path) }) as { show: string });
  const session = grantWords.filter((name) => call.has(name));
  const grants = [...session, ...folders('show'), ...folders('share')];
  return grants.length === 0 ? {} : { grants };
}

async function launch(call: Call): Promise<undefined> {
  const command = call.rest;
  const { env } = call.io;
  const found = programOf(command[0] ?? '', env);
  const profile = call.text('profile') as Asked['profile'];
  const { executable } = found;
  const enclave = call.text('enclave');
  const asked: Asked = {
    app: call.operand('APP'),
    executable,
    ...(profile && { profile }),
    ...(enclave && { enclave }),
    ...grantsOf(call),
  };
  if (call.has('dry-run')) {
    // Nothing waits to be started: the daemon may take its time.
    const client = await call.client();
    const plan = await client.call('launch.plan', { ...asked, dryRun: true });
    call.out.result(plan, () => planLines(plan, found, call.out.style));
    return undefined;
  }
  const plan = await planOf(call, asked);
  for (const notice of plan.notices) call.out.note(say`personactl: ${notice}`);
  return become(plan, found, command, env);
}

/** `personactl run`: becomes the program; 125 to 127 when there is none to become. */
export async function run(call: Call): Promise<undefined> {
  try {
    return await launch(call);
  } catch (error) {
    const wire = toWire(known(error));
    const isOfProgram = [notThere, cannotExecute].includes(wire.exit);
    throw fromWire({ ...wire, exit: isOfProgram ? wire.exit : ownFailure });
  }
}
