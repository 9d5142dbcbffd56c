import { type Enclave, readEnclaves } from './enclave-rows.ts';
import { anchorOf, type EnclaveRoom } from './room.ts';
import { isShown } from './volume.ts';

/** An open enclave, and where it is; or why there is none. */
export type Home = { enclave: Enclave; path: string } | { obstacle: string };

/**
 * The enclave that is to be the home of an application of this user: the one that is named, by him or for it, or the only one that he has. Never another one than
 * before because that happens to be closed.
 */
export async function homeOf(
  room: EnclaveRoom,
  uid: number,
  wanted: string | undefined,
): Promise<Home> {
  const mine = (await readEnclaves(room.store)).filter(({ owner }) => owner === uid);
  const fitting = wanted === undefined ? mine : mine.filter(({ name }) => name === wanted);
  const [enclave] = fitting;
  if (enclave === undefined)
    return {
      obstacle: `its home is to be an enclave, and ${wanted === undefined ? 'this user has none' : `this user has none called ${wanted}`}: \`personactl enclave create ${wanted ?? 'NAME'} --size SIZE\``,
    };
  if (fitting.length > 1)
    return {
      obstacle: `which enclave is to be its home is not said: \`--enclave NAME\`, or for each start \`personactl app set APP --enclave NAME\`, one of ${fitting.map(({ name }) => name).join(', ')}`,
    };
  const { name } = enclave;
  if (enclave.opened === undefined || !isShown(room, name))
    return { obstacle: `enclave ${name} is closed: \`personactl enclave open ${name}\`` };
  return { enclave, path: anchorOf(room, name) };
}
