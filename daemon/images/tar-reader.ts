import { accountsOf } from './account-files.ts';
import { archivePath } from './archive-path.ts';
import { type ByteSource, fileSource } from './byte-source.ts';
import type { Limits } from './limits.ts';
import { type Inode, NodeTree, type PlaceOptions } from './node-tree.ts';
import type { AccountLookup } from './posix-acl.ts';
import type { OpenOptions } from './readers.ts';
import { tarXattrs } from './tar-attributes.ts';
import { scanTar, type TarMember } from './tar-scan.ts';
import type { Tree } from './tree.ts';

/**
 * Opens an uncompressed tar as a tree: every member checked, later ones over earlier ones, content
 * read from the descriptor when it is asked for. Folders that are only implied get mode 0755, owner
 * 0:0, time 0.
 * @throws PersonaError 'bad-archive', 'bad-image' or 'limit-exceeded'.
 */
export async function openTar(fd: number, options: OpenOptions): Promise<Tree> {
  return tarTree(fileSource(fd, options.offset ?? 0, options.size), options.limits);
}

/** The same over any source of bytes. */
export function tarTree(source: ByteSource, limits: Limits): Tree {
  const tree = new NodeTree(limits);
  addTar(tree, source, limits, { layer: 0, links: 'refuse' });
  return tree.toTree();
}

/** Puts all members of a tar into `tree`. `take` may keep a member to itself by returning true. */
export function addTar(
  tree: NodeTree,
  source: ByteSource,
  limits: Limits,
  options: PlaceOptions,
  take: (path: string, member: TarMember) => boolean = () => false,
): void {
  const lookup = accountsOf(tree, source, limits);
  for (const member of scanTar(source, limits)) {
    const path = archivePath(member.name, 'a member');
    if (take(path, member)) continue;
    if (member.type === 'hardlink') {
      tree.link(path, archivePath(member.linkName, `${path}: a hard link`), options);
      continue;
    }
    const stored = { source, offset: member.dataOffset };
    tree.put(path, inodeOf(member, lookup), options, member.type === 'file' ? stored : undefined);
  }
}

/** What a member says of itself, in the form of an entry. */
export function inodeOf(member: TarMember, lookup: AccountLookup): Inode {
  const inode: Inode = {
    type: member.type,
    // The mode of a symbolic link means nothing; archives disagree on it.
    mode: member.type === 'symlink' ? 0o777 : member.mode,
    uid: member.uid,
    gid: member.gid,
    mtime: member.mtime,
    mtimeNs: member.mtimeNs,
    xattrs: member.attributes.length === 0 ? [] : tarXattrs(member.name, member.attributes, lookup),
  };
  if (member.type === 'symlink') inode.target = member.linkName;
  if (member.type === 'char' || member.type === 'block') inode.rdev = member.rdev;
  if (member.type !== 'file') return inode;
  inode.size = member.size;
  const whole = member.extents?.[0]?.[1] === member.size || member.size === 0;
  if (member.extents !== undefined && !whole) inode.extents = member.extents;
  return inode;
}
