/** Runs `act` once nothing has been told for `afterMs`. Keeps no process alive. */
export function whenQuiet(act: () => void, afterMs: number): { tell(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  return {
    tell() {
      if (timer !== undefined) return void timer.refresh();
      timer = setTimeout(() => {
        timer = undefined;
        act();
      }, afterMs);
      timer.unref();
    },
    stop: () => clearTimeout(timer),
  };
}
