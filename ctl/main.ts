import { processIo } from './io.ts';
import { run } from './program.ts';

const io = processIo();

void run(process.argv.slice(2), io).then((status) => {
  process.exitCode = status;
  // Nothing is left to do: taking everything apart in order would only cost time.
  if (io.out.flushed() && io.err.flushed()) process.exit();
});
