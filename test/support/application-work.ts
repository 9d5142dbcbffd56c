import { inflateSync } from 'node:zlib';
import type { ExecutionContext } from 'ava';

/** Applications from packages of Debian that tests start. */
export const applications = ['sqlite3', 'git', 'vim', 'firefox-esr'] as const;
export type Application = (typeof applications)[number];

export const profiles = ['standard', 'fast', 'secure'] as const;
export type Profile = (typeof profiles)[number];

/** A folder of a user in which an application works. */
export interface Workplace {
  /** The folder, as the application sees it. */
  seen: string;
  /** Runs a program of the application to its good end, in the profile, and answers what it printed. */
  work(...command: string[]): Promise<string>;
  /** Everything that was written is on the disk when this is done. */
  end(): Promise<void>;
  /** The same folder on the disk then. */
  disk: string;
  /** Runs a program as the user, started by nobody of ours. */
  outside(...command: string[]): Promise<string>;
  /** What is in a file on the disk. */
  bytes(path: string): Promise<Buffer>;
}

/**
 * What lies in such a folder at first, by name; `undefined` for a folder: a browser asks whoever sits there for the folder of a profile
 * that is missing. Its page is red when a profile shows it for the first time, and green when it remembers that.
 */
export const furniture: Readonly<Record<string, string | undefined>> = {
  'note.txt': 'first\n',
  profile: undefined,
  'page.html': `<!doctype html><title>page</title><body><script>
document.body.style.background = localStorage.getItem('seen') ? '#00ff00' : '#ff0000';
localStorage.setItem('seen', 'yes');
</script>
`,
};

const by = ['-c', 'user.name=me', '-c', 'user.email=me@localhost'];

/** Work of each application, and that the disk has all of it in the end. */
export const works: Readonly<
  Record<Application, (t: ExecutionContext, at: Workplace) => Promise<void>>
> = {
  async sqlite3(t, { seen, disk, work, end, outside }) {
    const file = `${seen}/keys.db`;
    const make =
      'CREATE TABLE keys (name TEXT, value BLOB); INSERT INTO keys VALUES (1, 2), (3, 4)';
    await work('sqlite3', file, `PRAGMA journal_mode = WAL; ${make}`);
    await work('sqlite3', file, 'BEGIN; INSERT INTO keys VALUES (5, 6); COMMIT');
    t.is(await work('sqlite3', file, 'SELECT sum(value) FROM keys'), '12\n');
    await end();
    const asked = 'PRAGMA integrity_check; SELECT sum(value) FROM keys';
    t.is(await outside('sqlite3', `${disk}/keys.db`, asked), 'ok\n12\n');
  },
  async git(t, { seen, disk, work, end, outside }) {
    const git = (...words: string[]) => work('git', '-C', seen, ...words);
    await git('init', '-q');
    await git('add', 'note.txt');
    await git(...by, 'commit', '-q', '-m', 'first');
    t.regex(await git('log', '--stat'), /first[\s\S]*note\.txt \| 1 \+/);
    await git('gc', '-q');
    await git('clone', '-q', '.', 'copy');
    await end();
    for (const repository of [disk, `${disk}/copy`]) {
      const there = ['git', '-c', `safe.directory=${repository}`, '-C', repository];
      t.is(await outside(...there, 'fsck', '--strict'), '');
      t.is(await outside(...there, 'show', 'HEAD:note.txt'), 'first\n');
    }
  },
  async vim(t, { seen, disk, work, end, bytes, outside }) {
    const edit = ['+normal! Gosecond', '+write', '+quit!'];
    await work('vim', '-N', '-u', 'NONE', '-es', ...edit, `${seen}/note.txt`);
    await end();
    t.is((await bytes(`${disk}/note.txt`)).toString(), 'first\nsecond\n');
    t.notRegex(await outside('ls', '-A', disk), /\.swp$/m);
  },
  async 'firefox-esr'(t, { seen, disk, work, end, bytes, outside }) {
    for (const picture of ['one.png', 'two.png'])
      await work(
        ...['firefox-esr', '--headless', '--no-remote', '--profile', `${seen}/profile`],
        ...['--window-size', '64,64', '--screenshot', `${seen}/${picture}`],
        `file://${seen}/page.html`,
      );
    await end();
    t.is(firstColour(await bytes(`${disk}/one.png`)), 'ff0000', 'nobody has seen the page');
    t.is(firstColour(await bytes(`${disk}/two.png`)), '00ff00', 'its profile remembers');
    t.regex(await outside('ls', `${disk}/profile`), /^prefs\.js$/m);
  },
};

const HEADER_BYTES = 8;
const LENGTH_BYTES = 4;
const FRAME_BYTES = 12;

/** The colour of the first pixel of a PNG picture, as `rrggbb`: before and above it is nothing, so no filter has changed it. */
function firstColour(picture: Buffer): string {
  const data: Buffer[] = [];
  for (let at = HEADER_BYTES; at < picture.length; ) {
    const length = picture.readUInt32BE(at);
    const content = at + 2 * LENGTH_BYTES;
    if (picture.toString('latin1', at + LENGTH_BYTES, content) === 'IDAT')
      data.push(picture.subarray(content, content + length));
    at += length + FRAME_BYTES;
  }
  return inflateSync(Buffer.concat(data)).toString('hex', 1, 4);
}
