/**
 * Runs `act` once nothing has been told for `afterMs`, and at most twice that after the last time. Keeps no process
 * alive. Telling sets a mark only: it is done for every call.
 */
export function whenQuiet(act: () => void, afterMs: number): { tell(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  let told = false;
  const look = () => {
    timer = undefined;
    if (told) arm();
    else act();
  };
  const arm = () => {
    told = false;
    timer = setTimeout(look, afterMs).unref();
  };
  return {
    tell() {
      told = true;
      if (timer === undefined) arm();
    },
    stop: () => clearTimeout(timer),
  };
}
