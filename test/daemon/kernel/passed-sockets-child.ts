// Takes what it was passed as a service does: variables as JSON in its argument, `LISTEN_PID` its own unless given there.
// Prints what it took; with a second argument it serves the socket `user` at that path and answers its first caller.
import { listenOn } from '../../../daemon/kernel/listen.ts';
import { takePassedSockets } from '../../../daemon/kernel/passed-sockets.ts';

const [variables = '{}', path] = process.argv.slice(2);
const env: Record<string, string | undefined> = {
  LISTEN_PID: String(process.pid),
  ...JSON.parse(variables),
};
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
try {
  const passed = takePassedSockets(env);
  say({ passed: [...passed], left: Object.keys(env) });
  const user = passed.get('user');
  if (path !== undefined && user !== undefined) {
    const server = await listenOn(user, path, (socket) => {
      socket.end('served');
      server.close();
    });
    say('listening');
  }
} catch (error) {
  say({ code: (error as { code?: string }).code, message: (error as Error).message });
}
