// The daemon's program. Only what must happen before anything is loaded stands here.

/** SECURITY 26: blocking calls on foreign file systems must not use up the pool. libuv reads it once. */
const poolThreadsMin = 16;

if (!(Number(process.env.UV_THREADPOOL_SIZE) >= poolThreadsMin))
  process.env.UV_THREADPOOL_SIZE = String(poolThreadsMin);

// Files and folders are for root unless their mode is set on purpose.
process.umask(0o077);

const { serve } = await import('./serve.ts');
process.exitCode = await serve(process.argv.slice(2), process.env);
