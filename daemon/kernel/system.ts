/** What the machine is, for `status` and `doctor`. */
export interface SystemFacts {
  osName: string;
  kernel: string;
  arch: string;
  hostname: string;
  cpuModel: string;
  cpus: number;
  memoryBytes: number;
}

/** The library starts programs for its answers: never twice within this time. */
const FRESH_MS = 30_000;
let kept: { facts: Promise<SystemFacts>; at: number } | undefined;

async function ask(): Promise<SystemFacts> {
  // Loaded on first use: it costs 33 ms, and a daemon that nobody asks never needs it.
  const { default: si } = await import('systeminformation');
  const [os, cpu, memory] = await Promise.all([si.osInfo(), si.cpu(), si.mem()]);
  return {
    osName: `${os.distro} ${os.release}`.trim(),
    kernel: os.kernel,
    arch: os.arch,
    hostname: os.hostname,
    cpuModel: `${cpu.manufacturer} ${cpu.brand}`.trim(),
    cpus: cpu.cores,
    memoryBytes: memory.total,
  };
}

/** Facts of this machine, at most 30 s old. No caller's text ever reaches the library: it runs shells. */
export function systemFacts(now: number = performance.now()): Promise<SystemFacts> {
  if (kept === undefined || now - kept.at > FRESH_MS) {
    const facts = ask();
    kept = { facts, at: now };
    facts.catch(() => {
      kept = undefined;
    });
  }
  return kept.facts;
}
