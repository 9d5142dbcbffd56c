import { isCode } from '../../ipc/errors.ts';
import type { Call } from '../call.ts';
import { say } from '../print/safe.ts';
import { toolVersion } from '../version.ts';

/** `personactl version`: the daemon's is left out when it does not run, unless it was asked for. */
export async function version(call: Call): Promise<undefined> {
  const tool = toolVersion();
  try {
    const client = await call.client();
    const daemon = await client.call('daemon.ping', {});
    call.out.result({ tool, daemon }, () => [
      ...(call.has('daemon') ? [] : [say`personactl ${tool}`]),
      say`personad ${daemon.version}`,
    ]);
    if (daemon.version !== tool)
      call.out.note(
        say`Tool and daemon are of different versions: restart the daemon after an update.`,
      );
  } catch (error) {
    if (call.has('daemon') || !isCode(error, 'daemon-not-running')) throw error;
    call.out.result({ tool }, () => [say`personactl ${tool}`]);
    call.out.note(say`The daemon does not run.`);
  }
}
