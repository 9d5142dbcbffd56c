import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import test from 'ava';
import { createGroup, moveProcess, removeGroup } from '../../../daemon/kernel/cgroups.ts';
import { boottimeMs } from '../../../daemon/kernel/clock.ts';
import { parseDiskUse, parseTimes, readGroupUse } from '../../../daemon/kernel/group-use.ts';
import { memoryHierarchy, memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';

test('times, reads and writes are found in the texts of the kernel, whatever a program is called', (t) => {
  const stat = `7 (a b) R 1) S 1 7 7 0 -1 4194304 1 2 3 4 10 20 300 4000 20 0 1 0 5555 1 2\n`;
  t.deepEqual(parseTimes(stat), { cpuMs: 43_300, sinceMs: 55_550 });
  const io = 'rchar: 5\nread_bytes: 4096\nwrite_bytes: 1\ncancelled_write_bytes: 7\n';
  t.deepEqual(parseDiskUse(io), { readBytes: 4096, writtenBytes: 1 });
  t.deepEqual(parseDiskUse('rchar: 5\n'), { readBytes: Number.NaN, writtenBytes: Number.NaN });
});

const MiB = 2 ** 20;
/** Reads a file past the page cache, writes four times to the disk, takes memory, uses a processor, and says so. */
const program = `
read go
dd if="$0" of=/dev/null bs=1M iflag=direct status=none
dd if=/dev/zero of="$0" bs=4096 count=4 oflag=dsync conv=notrunc status=none
text=$(head -c 48M /dev/zero | tr '\\0' x)
i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
echo used; read go`;

when(test, { ...memoryNeeds, tools: ['dd', 'head', 'tr'] })(
  'a group that works is seen to: memory, processor time, reads and writes, those of ended children too',
  async (t) => {
    const hierarchy = memoryHierarchy()!;
    const group = `${hierarchy.at}/persona-test-use-${process.pid}`;
    createGroup(group);
    // On a disk: /tmp may be memory.
    const folder = mkdtempSync('/var/tmp/personad-test-');
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(`${folder}/file`, Buffer.alloc(8 * MiB, 1), { flush: true });
    const child = spawn('sh', ['-c', program, `${folder}/file`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
      while (!removeGroup(group)) await new Promise(setImmediate);
    });
    t.is(readGroupUse(group, hierarchy.version), undefined, 'nothing runs in it');
    await moveProcess(group, child.pid ?? 0);
    const before = readGroupUse(group, hierarchy.version);
    child.stdin.write('go\n');
    t.deepEqual(await once(createInterface({ input: child.stdout }), 'line'), ['used']);
    const after = readGroupUse(group, hierarchy.version);
    const { cpuMs = 0, readBytes = 0, memoryBytes = 0, sinceMs = 0 } = after ?? {};
    const written = (after?.writtenBytes ?? 0) - (before?.writtenBytes ?? 0);
    t.true(cpuMs - (before?.cpuMs ?? 0) >= 50, `${cpuMs} ms`);
    t.true(readBytes - (before?.readBytes ?? 0) >= 8 * MiB, `${readBytes} bytes`);
    t.true(written >= 4 * 4096, `${written} bytes`);
    t.true(memoryBytes >= 48 * MiB && memoryBytes < 1024 * MiB, `${memoryBytes} bytes`);
    t.is(before?.sinceMs, sinceMs);
    t.true(sinceMs > 0 && sinceMs <= boottimeMs() + 10);
  },
);
