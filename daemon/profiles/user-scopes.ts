import { groupId, readKnob } from '../kernel/cgroups.ts';
import { type PathWatch, watchPath } from '../kernel/path-watch.ts';
import { groupsIn } from '../kernel/placed-process.ts';

/** A group that a desktop has made for an application. */
export interface UserScope {
  /** Its path below the hierarchy. */
  group: string;
  account: number;
}

/** What is told of such groups. */
export interface ScopeListener {
  /** Something runs in it. */
  began(scope: UserScope): void;
  /** Nothing runs in it any more, or it is gone. */
  ended(scope: UserScope): void;
}

/** How much of a user's tree is watched: what is in it, he has made. */
export const scopeLimits = { perUserMax: 512, allMax: 4096 };

/** News of groups can be lost when there are very many at once. */
const reconcileMs = 60_000;

/** The folders on the way to a group of an application, as systemd lays them out (systemd.special(7)), and those groups. */
const levels = [
  /^user-(\d{1,10})\.slice$/,
  /^user@\d{1,10}\.service$/,
  /^app\.slice$/,
  /^app-.+\.(scope|service|slice)$/,
  /^app-.+\.(scope|service)$/,
] as const;
/** Of `app.slice`: what is below it is made by its user. */
const appLevel = 2;
const isLeaf = (name: string): boolean => /\.(scope|service)$/.test(name);

/** A group on the way, or that of an application. */
interface Node {
  group: string;
  level: number;
  account: number;
  id: bigint;
  watch: PathWatch | undefined;
  children: Map<string, Node>;
  populated: boolean;
}

/**
 * Watches the groups in which desktops start applications, in the trees of all users, below `root`. A group is known by its inode: one that was
 * made anew under the same name is another one.
 */
export class UserScopes {
  readonly #at: string;
  readonly #listener: ScopeListener;
  readonly #limits: typeof scopeLimits;
  readonly #counts = new Map<number, number>();
  #all = 0;
  #top: Node | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param at the mounted hierarchy */
  constructor(at: string, listener: ScopeListener, limits = scopeLimits) {
    this.#at = at;
    this.#listener = listener;
    this.#limits = limits;
  }

  /** Begins with the group of all users. */
  async start(users: string): Promise<void> {
    const id = groupId(this.#folder(users));
    if (id === undefined) return;
    this.#top = this.#open(users, -1, -1, id);
    await this.#look(this.#top);
    this.#timer = setInterval(() => void this.#reconcile(), reconcileMs).unref();
  }

  /** Groups that are watched of what users make: more than may be are left alone. */
  get count(): number {
    return this.#all;
  }

  close(): void {
    clearInterval(this.#timer);
    if (this.#top !== undefined) this.#close(this.#top);
    this.#top = undefined;
  }

  #folder(group: string): string {
    return `${this.#at}/${group}`;
  }

  #open(group: string, level: number, account: number, id: bigint): Node {
    const node: Node = {
      group,
      level,
      account,
      id,
      watch: undefined,
      children: new Map(),
      populated: false,
    };
    node.watch = watchPath(this.#folder(group), (name) => this.#child(node, name));
    return node;
  }

  /** A name in a folder has come or gone. */
  #child(node: Node, name: string | undefined): void {
    const known = name === undefined ? undefined : node.children.get(name);
    if (name === undefined) return void this.#look(node);
    const pattern = levels[node.level + 1];
    if (pattern === undefined || !pattern.test(name)) return;
    const group = `${node.group}/${name}`;
    const id = groupId(this.#folder(group));
    if (known !== undefined && known.id !== id) {
      node.children.delete(name);
      this.#close(known);
    }
    if (id === undefined || known?.id === id) return;
    const isOfUser = node.level >= appLevel;
    if (isOfUser && !this.#take(node.account)) return;
    if (isOfUser && isLeaf(name)) this.#addLeaf(node, name, group, id);
    else {
      const account = node.level < 0 ? Number(pattern.exec(name)?.[1]) : node.account;
      const child = this.#open(group, node.level + 1, account, id);
      node.children.set(name, child);
      void this.#look(child);
    }
  }

  /** Takes a place for one more group of this user; false when there is none. */
  #take(account: number): boolean {
    const mine = this.#counts.get(account) ?? 0;
    if (mine >= this.#limits.perUserMax || this.#all >= this.#limits.allMax) return false;
    this.#counts.set(account, mine + 1);
    this.#all += 1;
    return true;
  }

  #addLeaf(parent: Node, name: string, group: string, id: bigint): void {
    const { account } = parent;
    const level = levels.length;
    const children = new Map<string, Node>();
    const node: Node = { group, level, account, id, watch: undefined, children, populated: false };
    parent.children.set(name, node);
    // The kernel tells by this file when the first process comes and the last one goes.
    node.watch = watchPath(`${this.#folder(group)}/cgroup.events`, () => this.#tell(node));
    this.#tell(node);
  }

  /** Tells what has become of the group of an application. */
  #tell(node: Node, gone = false): void {
    const events = gone ? undefined : readKnob(this.#folder(node.group), 'cgroup.events');
    const populated = events?.includes('populated 1') === true;
    if (populated === node.populated) return;
    node.populated = populated;
    const { group, account } = node;
    this.#listener[populated ? 'began' : 'ended']({ group, account });
  }

  async #look(node: Node): Promise<void> {
    const names = await groupsIn(this.#folder(node.group));
    for (const name of new Set([...names, ...node.children.keys()])) this.#child(node, name);
  }

  #close(node: Node): void {
    node.watch?.close();
    for (const child of node.children.values()) this.#close(child);
    if (node.level <= appLevel) return;
    this.#counts.set(node.account, (this.#counts.get(node.account) ?? 1) - 1);
    this.#all -= 1;
    if (node.level === levels.length) this.#tell(node, true);
  }

  async #reconcile(node = this.#top): Promise<void> {
    if (node === undefined) return;
    if (node.level === levels.length) return this.#tell(node);
    await this.#look(node);
    for (const child of [...node.children.values()]) await this.#reconcile(child);
  }
}
