import { formatDuration } from '../../ipc/values.ts';

/** "just now", "5 min ago", "3 d ago"; the date when it is more than 30 days ago. Milliseconds since 1970. */
export function ago(thenMs: number, nowMs: number): string {
  const ms = nowMs - thenMs;
  if (ms < 1500) return 'just now';
  if (ms > 30 * 86_400_000) return new Date(thenMs).toISOString().slice(0, 10);
  // Nobody needs tenths of a second here.
  return `${formatDuration(Math.round(ms / 1000) * 1000).replace('.0', '')} ago`;
}

/** "2026-11-21 06:12:09 UTC" of milliseconds since 1970. */
export function moment(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** "sha256:0123456789ab" of a full digest. */
export function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

/** A text of the daemon in which every full digest is short. */
export function withShortDigests(text: string): string {
  return text.replace(/sha256:[0-9a-f]{64}/g, shortDigest);
}
