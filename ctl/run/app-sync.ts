import type { ServedPage } from '../../ipc/methods/shapes.ts';
import type { Call } from '../call.ts';
import type { Safe } from '../print/safe.ts';
import { servedLines } from '../print/served-lines.ts';

function lines(applications: readonly ServedPage[], { out, io }: Call): Safe[] {
  if (applications.length === 0) return [out.style.dim('no application works in memory')];
  return servedLines(applications, out, io.now());
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
