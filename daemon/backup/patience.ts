import { PersonaError } from '../../ipc/errors.ts';

/** How long the file of a backup is waited for: its disk may be asleep, or its server gone. */
export interface FilePatience {
  /** Longest time of one answer of its file system. */
  answerMs: number;
  signal?: AbortSignal;
}

/** The file system of the backup does not answer. */
export function fileHangs(): PersonaError {
  const error = new PersonaError('timed-out', { what: 'reading the backup' });
  error.hint = 'Its file system does not answer: see whether its disk or server is still there.';
  return error;
}

/** What the file system answers to one call. What hangs in it is left alone: it holds a thread until the file system is gone. */
export async function answered<T>(
  call: Promise<T>,
  { answerMs, signal }: FilePatience,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(fileHangs()), answerMs);
  const stop = () => late.reject(new PersonaError('cancelled'));
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([call, late.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}
