import type { Answer } from '../../ipc/methods/index.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { columns } from '../print/columns.ts';
import { type Piece, type Safe, say } from '../print/safe.ts';
import { ago } from '../print/time.ts';

type Page = Answer<'system.inventory'>;

const right = (title: string) => ({ title, side: 'right' as const });
const left = (title: string) => ({ title });

const unknown = 'not told';

function headLines({ system, cpu, memory, readMs }: Page, call: Call): Safe[] {
  const { style } = call.out;
  const machine = [system.maker, system.model].filter((word) => word !== '').join(' ') || unknown;
  const clock = cpu.maxMhz === undefined ? '' : `, up to ${(cpu.maxMhz / 1000).toFixed(1)} GHz`;
  const modules = memory.modules.length === 0 ? ', modules: not told' : '';
  return [
    say`${style.bold(machine)}${system.virtual ? ' (virtual)' : ''}  ${style.dim(say`seen ${ago(readMs, call.io.now())}`)}`,
    say`processor  ${cpu.model || unknown}, ${cpu.cores} threads on ${cpu.physicalCores} cores${clock}`,
    say`memory     ${formatSize(memory.totalBytes)}${modules}`,
  ];
}

/** A table below an empty line; nothing for an empty one. */
function table(titles: Parameters<typeof columns>[0], rows: Piece[][], call: Call) {
  return rows.length === 0 ? [] : [say``, ...columns(titles, rows, call.out.style)];
}

function page(answer: Page, call: Call): Safe[] {
  const { style } = call.out;
  const { memory, disks, namespaces } = answer;
  return [
    ...headLines(answer, call),
    ...table(
      [left('MODULE'), right('SIZE'), left('KIND'), right('CLOCK'), left('ECC')],
      memory.modules.map(({ slot, bytes, kind, mhz, ecc }) => [
        style.bold(slot || unknown),
        formatSize(bytes),
        kind,
        mhz === undefined ? '' : `${mhz} MHz`,
        ecc === undefined ? '' : ecc ? 'yes' : 'no',
      ]),
      call,
    ),
    ...table(
      [left('DISK'), left('KIND'), right('SIZE'), left('BY'), left('MODEL')],
      disks.map(({ name, kind, bytes, transport, model, removable }) => [
        style.bold(name),
        kind,
        formatSize(bytes),
        removable ? `${transport} removable`.trim() : transport,
        model,
      ]),
      call,
    ),
    ...table(
      [
        left('NAMESPACE'),
        left('OF'),
        right('NUMBER'),
        right('SIZE'),
        right('BLOCK'),
        left('MODEL'),
      ],
      namespaces.map(({ name, controller, nsid, bytes, blockBytes, model }) => [
        style.bold(name),
        controller,
        nsid ?? '',
        formatSize(bytes),
        formatSize(blockBytes),
        model,
      ]),
      call,
    ),
  ];
}

/** `personactl system inventory` */
export async function inventory(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('system.inventory', {});
  call.out.result(answer, () => page(answer, call));
}
