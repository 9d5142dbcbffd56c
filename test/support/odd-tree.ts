import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';

/** How odd a tree shall be. */
export interface OddTreeOptions {
  /** Extended attributes, access lists, capabilities (default true). */
  attributes?: boolean;
  /** Device nodes and fifos (default true). */
  devices?: boolean;
  /** Only what old file systems hold: times before 2038, few attributes (default false). */
  small?: boolean;
}

/**
 * Fills an existing folder with everything a reader has to carry: odd names and modes, hard links,
 * links, holes, devices, attributes, access lists, capabilities, large folders. Needs root.
 * Whole seconds only, so that formats without nanoseconds can be compared too.
 */
export function fillOddTree(root: string, options: OddTreeOptions = {}): void {
  const at = (path: string) => Buffer.from(`${root}/${path}`, 'latin1');
  for (const folder of [
    'etc',
    'usr',
    'usr/bin',
    'home',
    'home/user',
    'many',
    'foo',
    'foo-a',
    'e',
  ]) {
    mkdirSync(at(folder));
  }
  writeFileSync(at('etc/passwd'), 'root:x:0:0::/root:/bin/sh\n');
  writeFileSync(at('foo/b'), 'b');
  writeFileSync(at('foo.c'), 'c');
  writeFileSync(at('home/user/odd \x01\n\t\\"\xff\xfe name'), 'odd');
  writeFileSync(at(`home/user/${'n'.repeat(255)}`), '');
  writeFileSync(at('home/user/large'), Buffer.alloc(3_000_001, 'large content '));
  writeFileSync(at('e/empty'), '');
  for (let i = 0; i < 700; i++) writeFileSync(at(`many/file-${i}-${'x'.repeat(i % 90)}`), `${i}`);
  writeFileSync(at('usr/bin/tool'), '#!/bin/sh\n');
  linkSync(at('usr/bin/tool'), at('usr/bin/another'));
  linkSync(at('usr/bin/tool'), at('aaa-first-name'));
  chmodSync(at('usr/bin/tool'), 0o4755);
  chmodSync(at('etc'), 0o2750);
  chmodSync(at('e'), 0o1777);
  chownSync(at('home/user'), 1000, 100_000);
  chownSync(at('home/user/large'), 70_000, 4_000_000_000);
  symlinkSync('tool', at('usr/bin/short'));
  symlinkSync('/absolute/../target', at('usr/bin/absolute'));
  symlinkSync(`${'long/'.repeat(60)}end`, at('usr/bin/long'));
  makeSparse(at('e/sparse'));
  truncateSync(at('e/empty'), 0);
  writeFileSync(at('e/all-hole'), '');
  truncateSync(at('e/all-hole'), 5_000_000);
  if (options.devices !== false) {
    execFileSync('mknod', [`${root}/e/null`, 'c', '1', '3']);
    execFileSync('mknod', [`${root}/e/disk`, 'b', '259', '70000']);
    execFileSync('mkfifo', ['-m', '600', `${root}/e/fifo`]);
  }
  if (options.attributes !== false) addAttributes(root);
  execFileSync('find', [root, '-exec', 'touch', '-h', '-d', '@1234567890', '{}', '+']);
  touch(root, 'etc/passwd', '1');
  touch(root, 'foo/b', '-86400');
  touch(root, 'foo.c', options.small === true ? '2000000000' : '3000000000');
}

function touch(root: string, path: string, seconds: string): void {
  execFileSync('touch', ['-h', '-d', `@${seconds}`, `${root}/${path}`]);
}

function makeSparse(path: Buffer): void {
  const fd = openSync(path, 'w');
  writeSync(fd, Buffer.alloc(100_000, 1), 0, 100_000, 0);
  writeSync(fd, Buffer.alloc(8192, 2), 0, 8192, 1 << 20);
  writeSync(fd, 'end', (4 << 20) + 5);
  closeSync(fd);
}

function addAttributes(root: string): void {
  const run = (file: string, ...args: string[]) => execFileSync(file, args, { stdio: 'pipe' });
  run('setfattr', '-n', 'user.text', '-v', 'value', `${root}/foo/b`);
  run('setfattr', '-n', 'user.empty', `${root}/foo/b`);
  run('setfattr', '-n', 'user.binary', '-v', '0x00ff0a3d', `${root}/foo`);
  run('setfattr', '-n', 'trusted.own', '-v', 'x'.repeat(300), `${root}/foo.c`);
  run('setfattr', '-h', '-n', 'trusted.link', '-v', 'y', `${root}/usr/bin/short`);
  run('setfacl', '-m', 'u:1234:rw,g:2345:r', `${root}/etc/passwd`);
  run('setfacl', '-d', '-m', 'u:1234:rwx', `${root}/home/user`);
  run('setcap', 'cap_net_raw+ep', `${root}/home/user/large`);
}
