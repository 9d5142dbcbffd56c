import type { Client } from '../../ipc/client.ts';
import type { MethodName, Params } from '../../ipc/methods/index.ts';

/** Calls a change and waits for its result; throws what it failed with. */
export async function done<M extends MethodName>(
  client: Client,
  method: M,
  params: Omit<Params<M>, 'wait'>,
): Promise<Record<string, never>> {
  const answer = await client.call(method, { ...params, wait: true } as unknown as Params<M>);
  return (answer as unknown as { result: Record<string, never> }).result;
}
