import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { toWire } from '../../ipc/errors.ts';
import type { Log } from '../changes/log.ts';
import type { Paths } from '../config/paths.ts';
import { accountOf } from '../kernel/accounts.ts';
import { childIds } from '../kernel/child-ids.ts';
import { boottimeMs } from '../kernel/clock.ts';
import type { Child } from '../kernel/exec.ts';
import {
  changersOf,
  installedFile,
  modifiedMs,
  type OpenProgram,
  openInstalled,
} from '../kernel/installed-programs.ts';
import { type SurveyTask, startSurveyor } from '../kernel/survey-child.ts';
import type { Store } from '../store/store.ts';
import type { Source } from './application.ts';
import { Catalogue, type FileAt } from './catalogue.ts';
import type { Program } from './identity.ts';
import { isGeneric } from './importers/exec-line.ts';
import { fileKey, Layer } from './layer.ts';
import { MeasuredNeeds } from './measured-needs.ts';
import { readSurvey } from './read-survey.ts';
import { soughtIn } from './sought.ts';
import { StatedFacts } from './stated.ts';
import { EVERYBODY } from './stated-rows.ts';
import { emptySurvey, type Survey, watchedPlaces } from './survey.ts';
import type { OwnFile } from './verification.ts';

/** Who reads what everybody may read. */
const nobody = { uid: childIds.surveyor, gid: childIds.surveyor, groups: [] };
/** A survey that takes longer is given up: the machine's is done in a second, a user's home may hang. */
const machineDeadlineMs = 20_000;
const userDeadlineMs = 5_000;
/** What was found of a user is not looked for again sooner. */
const userFreshMs = 2_000;
/** What could not be read is tried again after this time, or when somebody asks for just that. */
const retryMs = 60_000;
/** A launch goes by what was read at most this long ago, or lets it be read again. */
const launchFreshMs = 60_000;
/** The machine's lists are not looked at for changes more often. */
const machineFreshMs = 2_000;
/** Where only packages write. The daemon itself looks at no other place. */
const systemPlace = /^\/(usr|bin|sbin)\//;
/** Users of whom something is kept. */
const USERS_MAX = 64;

/** Who asks. */
export interface Asker {
  uid: number;
  gid: number;
  groups: readonly number[];
}

/** What the room is opened with. */
export interface ProfilesParts {
  paths: Paths;
  store: Store;
  log: Log;
  now(): number;
  /** The user a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
}

/** A survey, with when and of what it was made. */
class Surveyed {
  survey = emptySurvey();
  layer = new Layer([], []);
  own = new Layer([], []);
  atMs = Number.NEGATIVE_INFINITY;
  /** What of the machine it went by. */
  seen = '';
  work: Promise<void> | undefined;
  /** Something that it was made from has changed meanwhile. */
  dirty = true;
  failed = false;

  /** True when it need not be made again: it is young, or was tried and could not be made. */
  isFresh(freshMs: number): boolean {
    return !this.dirty && boottimeMs() - this.atMs < (this.failed ? retryMs : freshMs);
  }

  take(survey: Survey): void {
    this.layer = new Layer(survey.fragments, survey.programs);
    this.own = new Layer(survey.entries, []);
    // What the layers have is not kept twice.
    this.survey = { ...survey, fragments: [], entries: [], programs: [] };
  }
}

/** The room of applications. */
export class ProfilesRoom {
  readonly store: Store;
  readonly now: () => number;
  readonly accountOf: (uid: number) => number;
  readonly fileAt: FileAt;
  readonly needs: MeasuredNeeds;
  readonly #parts: ProfilesParts;
  readonly #machine = new Surveyed();
  readonly #users = new Map<number, Surveyed>();
  readonly #stated: StatedFacts;
  readonly #children = new Set<Child>();
  #changed: () => void = () => undefined;
  #closed = false;

  constructor(parts: ProfilesParts) {
    this.#parts = parts;
    this.#stated = new StatedFacts(parts.store);
    this.needs = new MeasuredNeeds(parts.store, parts.now);
    this.store = parts.store;
    this.now = parts.now;
    this.accountOf = parts.accountOf;
    this.fileAt = (path) => {
      const found = systemPlace.test(path) ? installedFile(this.machine, path) : undefined;
      return found !== undefined && !isGeneric(found.real) ? found : undefined;
    };
  }

  /** The folder that stands for the root of the machine: its own, or one in a private tree. */
  get machine(): string {
    const { root } = this.#parts.paths;
    const own = root === undefined ? '/' : join(root, 'machine');
    return existsSync(own) ? own : '/';
  }

  /** Opens the file that lies at a path of the machine now, where only packages write. */
  openFile(path: string): OpenProgram | undefined {
    return systemPlace.test(path) ? openInstalled(this.machine, path) : undefined;
  }

  /** Which of the files that an application is started by a program is, for this user; undefined when none of them. */
  ownFile(uid: number, app: string, program: Program): OwnFile | undefined {
    const { recognised } = this.known(uid).called(app, program, this.fileAt);
    if (recognised.by !== 'executable') return undefined;
    const { path, device, inode } = recognised;
    if (!systemPlace.test(path))
      return { path, unseen: `it lies at ${path}: only where packages write is it looked at` };
    const now = openInstalled(this.machine, path);
    using file = now?.file;
    if (file === undefined || now?.device !== device || now.inode !== inode)
      return { path, unseen: `${path} is another file by now than the one that runs` };
    return { path, changers: changersOf(file) };
  }

  /** Has somebody told when more, or something else, is known than before. */
  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  /** The programs for which something is to be done whoever starts them, of everybody of whom something is known. What was stated anew is read first. */
  async sought(): Promise<Program[]> {
    const found = new Map<string, Program>();
    for (const uid of [nobody.uid, ...this.#users.keys()]) {
      const gid = accountOf(uid)?.gid ?? uid;
      const isRead = this.#users.get(uid)?.dirty === false;
      const catalogue = isRead ? this.known(uid) : await this.catalogue({ uid, gid, groups: [] });
      for (const program of await soughtIn(catalogue)) found.set(fileKey(program), program);
    }
    return [...found.values()];
  }

  /** All that is known to this user now, without waiting for anything that was not read yet: for a launch. */
  known(uid: number): Catalogue {
    const user = this.#users.get(uid);
    const layers = [
      ...this.#stated.layers(uid),
      ...(user === undefined ? [] : [user.layer]),
      this.#machine.layer,
    ];
    const measured = this.needs.layer(this.accountOf(uid));
    return new Catalogue(layers, { measured, own: user?.own });
  }

  /** Reads what is in the database. */
  async #load(uid: number): Promise<void> {
    await Promise.all([this.#stated.load(uid), this.needs.load(this.accountOf(uid))]);
  }

  /**
   * The same for a launch: what was stated by command is always there; what lies in files is read beside it when that is long ago, for
   * the launches that follow.
   */
  async forLaunch(asker: Asker): Promise<Catalogue> {
    await this.#load(asker.uid);
    const seenMs = this.#users.get(asker.uid)?.atMs ?? Number.NEGATIVE_INFINITY;
    if (boottimeMs() - Math.min(seenMs, this.#machine.atMs) >= launchFreshMs)
      this.catalogue(asker).catch((err: unknown) => this.#failed(err));
    return this.known(asker.uid);
  }

  /** Reads ahead of the first launch where somebody has stated something, so that programs which were named are known by their files. */
  async warmUp(): Promise<void> {
    for (const { owner } of await this.store.all('SELECT DISTINCT owner FROM application_facts')) {
      const account = accountOf(Math.max(Number(owner), 0));
      if (this.#closed || account === undefined) continue;
      await this.catalogue({ uid: account.uid, gid: account.gid, groups: [] });
    }
  }

  #failed(err: unknown): void {
    if (!this.#closed) this.#parts.log.warn({ err }, 'cannot read what is known of applications');
  }

  /** The same, after everything was read that was never read or has changed. What cannot be read is told by `surveys`. */
  async catalogue(asker: Asker): Promise<Catalogue> {
    await this.#load(asker.uid);
    await Promise.all([this.#readMachine(), this.#readUser(asker)]);
    return this.known(asker.uid);
  }

  /** Reads all of it again: the machine's part, too, where `all` is asked for or it has changed. */
  async readAgain(asker: Asker, all: boolean): Promise<Survey[]> {
    await this.#load(asker.uid);
    const user = this.#users.get(asker.uid);
    if (user !== undefined) user.dirty = true;
    if (all) this.#machine.dirty = true;
    await Promise.all([this.#readMachine(), this.#readUser(asker)]);
    return this.surveys(asker.uid);
  }

  /** What the last surveys had to tell: of the machine, and of this user. */
  surveys(uid: number): Survey[] {
    return [this.#machine.survey, this.#users.get(uid)?.survey ?? emptySurvey()];
  }

  /** What an owner has stated has changed. */
  forget(owner: number): void {
    this.#stated.changed(owner);
    const surveyed = owner === EVERYBODY ? this.#machine : this.#users.get(owner);
    // Programs that were named are to be looked for.
    if (surveyed !== undefined) surveyed.dirty = true;
    this.#changed();
  }

  /** Ends what is still being read. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const child of this.#children) child.kill();
    const all = [this.#machine, ...this.#users.values()];
    await Promise.all(all.map(({ work }) => work));
  }

  #task(): Pick<SurveyTask, 'machine' | 'share' | 'etc' | 'owner'> {
    const { share, etc } = this.#parts.paths;
    return { machine: this.machine, share, etc, owner: process.getuid?.() ?? 0 };
  }

  async #readMachine(): Promise<void> {
    const surveyed = this.#machine;
    while (surveyed.work !== undefined) await surveyed.work;
    if (surveyed.isFresh(machineFreshMs)) return;
    const seen = this.#changes();
    surveyed.atMs = boottimeMs();
    if (!surveyed.dirty && seen === surveyed.seen) return;
    surveyed.seen = seen;
    const paths = this.#stated.paths(EVERYBODY);
    await this.#survey(
      surveyed,
      { caller: nobody, ...this.#task(), paths },
      { allowed: ['imported', 'admin'], deadlineMs: machineDeadlineMs },
    );
  }

  /** When the places that a survey of the machine reads have last changed. */
  #changes(): string {
    const { share, etc } = this.#parts.paths;
    return watchedPlaces({ machine: this.machine, share, etc }).map(modifiedMs).join();
  }

  async #readUser({ uid, gid, groups }: Asker): Promise<void> {
    const home = accountOf(uid)?.home.replace(/^\/+|\/+$/g, '');
    if (home === undefined || home === '') return;
    const surveyed = this.#users.get(uid) ?? new Surveyed();
    this.#users.delete(uid);
    this.#users.set(uid, surveyed);
    for (const oldest of this.#users.keys()) {
      if (this.#users.size <= USERS_MAX) break;
      this.#users.delete(oldest);
    }
    while (surveyed.work !== undefined) await surveyed.work;
    if (surveyed.isFresh(userFreshMs)) return;
    const paths = this.#stated.paths(uid);
    await this.#survey(
      surveyed,
      { caller: { uid, gid, groups: [...groups] }, ...this.#task(), user: { uid, home }, paths },
      { allowed: ['user'], deadlineMs: userDeadlineMs },
    );
  }

  /** Runs a surveyor. What cannot be read leaves what was known before, and is told. */
  async #survey(
    surveyed: Surveyed,
    task: SurveyTask,
    { allowed, deadlineMs }: { allowed: readonly Source[]; deadlineMs: number },
  ): Promise<void> {
    if (this.#closed) return;
    surveyed.dirty = false;
    surveyed.failed = false;
    surveyed.work = (async () => {
      try {
        surveyed.take(await this.#read(await startSurveyor(task, deadlineMs), allowed));
        this.#changed();
      } catch (err) {
        surveyed.failed = true;
        surveyed.seen = '';
        if (this.#closed) return;
        const from = task.user === undefined ? this.machine : `/${task.user.home}`;
        const text = `it could not be read: ${toWire(err).message}`;
        surveyed.survey = { ...surveyed.survey, problems: [{ from, text }] };
        this.#parts.log.warn({ err, from }, 'cannot read what is known of applications');
      } finally {
        surveyed.atMs = boottimeMs();
        surveyed.work = undefined;
      }
    })();
    await surveyed.work;
  }

  async #read(child: Child, allowed: readonly Source[]): Promise<Survey> {
    this.#children.add(child);
    try {
      if (this.#closed) child.kill();
      return await readSurvey(child, allowed);
    } finally {
      this.#children.delete(child);
    }
  }
}
