import type { ServedPage } from '../../ipc/methods/shapes.ts';
import type { Call } from '../call.ts';
import { columns } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import { servedCells, servedTitles } from '../print/served-cells.ts';

function lines(applications: readonly ServedPage[], { out, io }: Call): Safe[] {
  if (applications.length === 0) return [out.style.dim('no application works in memory')];
  const rows = applications.map((one) => servedCells(one, io.now()));
  return [
    ...columns(servedTitles, rows, out.style),
    ...applications.flatMap(({ app, problem, shortage }) =>
      [problem, shortage]
        .filter((text) => text !== undefined)
        .map((text) => say`${out.style.yellow('!')} ${app}: ${text}`),
    ),
  ];
}

/** `personactl app sync`: exit status 1 when something stays in memory only. */
export async function sync(call: Call): Promise<number | undefined> {
  const app = call.given('APP');
  const seconds = call.number('within');
  const client = await call.client();
  const answer = await client.call('app.sync', {
    ...(app !== undefined && { app }),
    ...(seconds !== undefined && { withinMs: seconds * 1000 }),
  });
  call.out.result(answer, () => lines(answer.applications, call));
  return answer.applications.some(({ problem }) => problem !== undefined) ? 1 : undefined;
}
