import { archivePath } from './archive-path.ts';
import { type ByteSource, sliceSource } from './byte-source.ts';
import type { Limits } from './limits.ts';
import type { NodeTree } from './node-tree.ts';
import type { AccountLookup } from './posix-acl.ts';
import { scanTar } from './tar-scan.ts';

const accountFiles = { user: 'etc/passwd', group: 'etc/group' } as const;
/** Longer account files are cut: their first lines are the system's own. */
const accountBytesMax = 1024 * 1024;

/**
 * Gives the numbers of account names, for access lists written with names: by the account files of
 * the archive itself (which may come after the names), else by those of the tree it is laid over.
 */
export function accountsOf(tree: NodeTree, source: ByteSource, limits: Limits): AccountLookup {
  const known: Partial<Record<'user' | 'group', Map<string, number>>> = {};
  return (kind, name) => {
    known[kind] ??= numbersIn(
      fileInArchive(source, accountFiles[kind], limits) ??
        tree.peek(accountFiles[kind], accountBytesMax),
    );
    return known[kind].get(name);
  };
}

/** The start of a file of the archive: of the last member of that name, which is the one that counts. */
function fileInArchive(source: ByteSource, path: string, limits: Limits): Buffer | undefined {
  let found: Buffer | undefined;
  for (const member of scanTar(source, limits)) {
    if (member.type !== 'file' || member.extents !== undefined) continue;
    if (!member.name.endsWith(path) || archivePath(member.name, 'a member') !== path) continue;
    const length = Math.min(member.size, accountBytesMax);
    found = sliceSource(source, member.dataOffset, length).read(0, length);
  }
  return found;
}

/** NAME:PASSWORD:NUMBER:... in every line. */
function numbersIn(file: Buffer | undefined): Map<string, number> {
  const numbers = new Map<string, number>();
  for (const line of file?.toString('latin1').split('\n') ?? []) {
    const [name = '', , id = ''] = line.split(':');
    if (/^[0-9]{1,10}$/.test(id) && !numbers.has(name)) numbers.set(name, Number(id));
  }
  return numbers;
}
