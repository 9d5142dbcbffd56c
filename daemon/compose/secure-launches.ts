import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Request, Rooms } from '../api/rooms.ts';
import type { Log } from '../changes/log.ts';
import { type Paths, runPlaces } from '../config/paths.ts';
import { diskTexts } from '../enclave/enclave-pages.ts';
import type { Home } from '../enclave/home.ts';
import { accountOf } from '../kernel/accounts.ts';
import { memoryProtection } from '../kernel/assurances.ts';
import { failedWith } from '../kernel/errno.ts';
import { writeDurably } from '../kernel/files.ts';
import type { Landlock } from '../kernel/landlock.ts';
import { ProcessNotes } from '../kernel/process-notes.ts';
import { PublicCopy } from '../kernel/public-copy.ts';
import { besideUsr, bubblewrap, hasOpt } from '../kernel/sandbox-host.ts';
import { applicationFilter } from '../kernel/seccomp.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { type ApartProgram, ApartPrograms, assuranceOf } from '../profiles/apart.ts';
import type { Application } from '../profiles/application.ts';
import type { Obstacles, Way } from '../profiles/launch-plan.ts';
import { type Grant, secureWay, settings } from '../profiles/secure-way.ts';
import { statedGrants, withStated } from '../profiles/stated-grants.ts';
import { fastObstacles } from './fast-launches.ts';

/** What applications are kept apart with. */
export interface SecureParts {
  paths: Pick<Paths, 'run'>;
  /** Whether the machine can do something, by the id of the capability. */
  able(id: string): boolean;
  /** Whether the program that makes sandboxes is there, now. */
  hasBubblewrap(): boolean;
  landlock(): Landlock;
  home(uid: number, wanted: string | undefined): Promise<Home>;
  /** Somebody has what can be a home. */
  anyHome(): Promise<boolean>;
  now(): number;
  log: Log;
}

/** An application that is to be kept apart. */
export interface SecureAsked {
  app: string;
  /** What is known of it, where it is known by its file. */
  application?: Application;
  grants?: readonly Grant[] | undefined;
  enclave?: string | undefined;
  executable?: { path: string } | undefined;
}

type SecureLaunch = Pick<ApartProgram, 'app' | 'uid' | 'grants' | 'enclave' | 'disk' | 'landlock'>;

/** How an application was started apart. */
export interface StartedApart {
  enclave: string;
  /** The network of the machine was granted. */
  net: boolean;
  /** The file system at its enclave's place; undefined where there is none. */
  device: string | undefined;
}

type Caller = Pick<Request['caller'], 'uid' | 'pid'>;
type Assurance = NonNullable<Answer<'launch.plan'>['assurance']>;

function deviceOf(path: string): string | undefined {
  try {
    return statMount(path).device;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}

const refused = (app: string, reason: string) =>
  new PersonaError('profile-unavailable', { app, profile: 'secure', reason });

/** Does what a start apart needs. Whatever goes wrong: throws `profile-unavailable`, on which no launcher starts it otherwise. */
export async function failingClosed<T>(app: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PersonaError && error.code === 'profile-unavailable') throw error;
    throw refused(app, error instanceof Error ? error.message : String(error));
  }
}

/** Half of what an answer may have. */
const listBytesMax = 1024 ** 2;

/** A kernel that can confine is not left unused. */
const isLacking = ({ version, program }: Landlock) => version > 0 && program === undefined;
const noConfiner =
  'persona-confine is missing, by which the kernel confines it: install personad again, or `npm run build`';

/** Where the profile `secure` is made of an enclave, bubblewrap, a filter of system calls, and the word of who asks. */
export class SecureLaunches {
  readonly #parts: SecureParts;
  readonly #running: ApartPrograms;
  readonly #besideUsr = besideUsr();
  readonly #settings: PublicCopy;
  #saidProblem = false;

  constructor(parts: SecureParts) {
    this.#parts = parts;
    this.#running = new ApartPrograms(new ProcessNotes(join(parts.paths.run, runPlaces.apart)));
    this.#settings = new PublicCopy('/etc', this.#settingsPlace, settings);
  }

  get #settingsPlace(): string {
    return join(this.#parts.paths.run, runPlaces.applicationSettings);
  }

  /** Settings of the machine as they are now, in one folder; undefined where that cannot be had. */
  #settingsFolder(): string | undefined {
    try {
      this.#settings.renew();
      return this.#settingsPlace;
    } catch (err) {
      // It costs a few milliseconds of each start, and no wall.
      if (!this.#saidProblem) this.#parts.log.warn({ err }, 'cannot copy settings, ignoring');
      this.#saidProblem = true;
      return undefined;
    }
  }

  get #filter(): string {
    return join(this.#parts.paths.run, runPlaces.applicationFilter);
  }

  /** Lays down what every launch needs, and takes up what runs. */
  async open(): Promise<void> {
    await writeDurably(this.#filter, applicationFilter(), 0o444);
    // It takes 25 to 170 ms, in which nobody else is heard: where nothing can be kept apart nobody waits for it.
    if (await this.#parts.anyHome()) this.#settingsFolder();
    this.#running.recover();
  }

  close(): void {
    this.#settings.close();
  }

  /** Why profiles cannot be had by this user. */
  async obstacles({ uid }: Pick<Caller, 'uid'>, enclave?: string): Promise<Obstacles> {
    const secure = await this.#obstacle(uid, enclave);
    return { ...fastObstacles(), ...(secure !== undefined && { secure }) };
  }

  /** Why nothing of this user can be kept apart, with what to do, or undefined. */
  async #obstacle(uid: number, enclave: string | undefined): Promise<string | undefined> {
    if (uid === 0) return 'root is kept from nothing by it: start it as an ordinary user';
    if (!this.#parts.hasBubblewrap()) return `${bubblewrap} is missing: \`apt install bubblewrap\``;
    if (!this.#parts.able('user-namespaces'))
      return 'users may make no namespaces here: `personactl doctor` says what to do';
    if (isLacking(this.#parts.landlock())) return noConfiner;
    const full = this.#running.full(uid);
    if (full !== undefined) return full;
    const home = await this.#parts.home(uid, enclave);
    return 'obstacle' in home ? home.obstacle : undefined;
  }

  /** The way of one launch, and the enclave in it. Throws nothing but `profile-unavailable`. */
  way(
    asked: SecureAsked,
    caller: Pick<Caller, 'uid'>,
  ): Promise<{ way: Way; launch: SecureLaunch }> {
    return failingClosed(asked.app, () => this.#way(asked, caller));
  }

  async #way(
    { app, application, grants: asked = [], enclave, executable }: SecureAsked,
    { uid }: Pick<Caller, 'uid'>,
  ): Promise<{ way: Way; launch: SecureLaunch }> {
    const home = await this.#parts.home(uid, enclave);
    if ('obstacle' in home) throw refused(app, home.obstacle);
    const landlock = this.#parts.landlock();
    if (isLacking(landlock)) throw refused(app, noConfiner);
    const { version, program } = landlock;
    const account = accountOf(uid);
    const stated = application ? statedGrants(application, account?.home) : [];
    const grants = withStated(stated, asked);
    const way = secureWay({
      app,
      uid,
      account,
      home: home.path,
      grants,
      executable: executable?.path,
      besideUsr: this.#besideUsr,
      hasOpt: hasOpt(),
      settings: this.#settingsFolder(),
      filter: this.#filter,
      confine: version === 0 ? undefined : program,
    });
    const { name, way: lies } = home.enclave;
    const launch = { app, uid, grants, enclave: name, disk: diskTexts[lies], landlock: version };
    return { way, launch };
  }

  /** From here on the caller is that application. Throws `profile-unavailable` when it has gone. */
  began(launch: SecureLaunch, { pid }: Pick<Caller, 'pid'>): void {
    const startedMs = this.#parts.now();
    if (!this.#running.add({ ...launch, pid, startedMs }))
      throw refused(launch.app, 'who asked for it has gone');
  }

  /** What keeps it apart, and from whom it is not. */
  assurance(launch: SecureLaunch, memory = memoryProtection()): Assurance {
    return assuranceOf(launch, memory);
  }

  /** What runs apart, whichever daemon has started it. */
  programs(): readonly ApartProgram[] {
    return this.#running.running();
  }

  /** How what runs apart was started, by the process that it was started as. */
  startedApart(): ReadonlyMap<number, StartedApart> {
    const all = this.#running.running().map(({ pid, enclave, grants }) => {
      const device = deviceOf(join(this.#parts.paths.run, runPlaces.enclaves, enclave));
      return [pid, { enclave, net: grants.includes('net'), device }] as const;
    });
    return new Map(all);
  }

  /** What runs apart, of those that the caller may see. */
  list({ uid }: Pick<Caller, 'uid'>): Answer<'launch.apart'> {
    const seen = this.#running.running().filter((one) => uid === 0 || one.uid === uid);
    const memory = memoryProtection();
    const applications: Answer<'launch.apart'>['applications'] = [];
    let bytes = 0;
    for (const one of seen.toReversed()) {
      const { app, pid, startedMs, enclave } = one;
      const shown = { app, pid, uid: one.uid, startedMs, enclave, ...this.assurance(one, memory) };
      bytes += Buffer.byteLength(JSON.stringify(shown));
      if (bytes > listBytesMax) break;
      applications.push(shown);
    }
    return { applications, more: seen.length - applications.length };
  }

  /** Its method. */
  get methods(): Pick<Rooms, 'launch.apart'> {
    return { 'launch.apart': (_, { caller }) => this.list(caller) };
  }
}
