import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { settingsOf } from '../../../daemon/config/settings.ts';
import { type BootState, readBootState } from '../../../daemon/kernel/secure-boot.ts';
import { bootCheck, bootRefusal, bootText } from '../../../daemon/system/boot-policy.ts';
import { startDaemon } from '../../../daemon/wiring.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const variables = '8be4df61-93ca-11d2-aa0d-00e098032b8c';

/** A /sys with these EFI variables, each as efivarfs shows it, and this lockdown file. */
function sysOf(t: ExecutionContext, efi?: Record<string, number[]>, lockdown?: string): string {
  const sys = temporaryFolder(t);
  if (efi !== undefined) mkdirSync(join(sys, 'firmware/efi/efivars'), { recursive: true });
  for (const [name, bytes] of Object.entries(efi ?? {}))
    writeFileSync(join(sys, 'firmware/efi/efivars', `${name}-${variables}`), Buffer.from(bytes));
  mkdirSync(join(sys, 'kernel/security'), { recursive: true });
  if (lockdown !== undefined) writeFileSync(join(sys, 'kernel/security/lockdown'), lockdown);
  return sys;
}

const on = [6, 0, 0, 0, 1];
const off = [6, 0, 0, 0, 0];

test('the firmware and the kernel are asked, and what they do not say is absent', (t) => {
  const read = (...what: [Record<string, number[]>?, string?]) => readBootState(sysOf(t, ...what));
  t.deepEqual(read(), { firmware: 'other' });
  t.deepEqual(read(undefined, '[none] integrity confidentiality\n'), {
    firmware: 'other',
    lockdown: 'none',
  });
  t.deepEqual(read({ SecureBoot: on, SetupMode: off }, 'none [integrity] confidentiality\n'), {
    firmware: 'efi',
    secureBoot: true,
    setupMode: false,
    lockdown: 'integrity',
  });
  t.deepEqual(read({ SecureBoot: off, SetupMode: on }), {
    firmware: 'efi',
    secureBoot: false,
    setupMode: true,
  });
  t.deepEqual(read({}), { firmware: 'efi' }, 'variables that are not mounted');
  t.deepEqual(read({ SecureBoot: [1] }), { firmware: 'efi' }, 'a variable of another length');
  t.deepEqual(read({}, 'nonsense'), { firmware: 'efi' });
});

test('the machine of the test has an answer', (t) => {
  t.regex(bootText(readBootState()), /secure boot/);
});

test('only secure boot with its own keys satisfies the requirement', (t) => {
  const wanted = settingsOf([
    { key: 'integrity.require_secure_boot', value: 'yes', origin: 'test:1' },
  ]).values;
  const { values: free } = settingsOf([]);
  const efi = (rest: Partial<BootState>): BootState => ({ firmware: 'efi', ...rest });
  t.is(bootRefusal(wanted, efi({ secureBoot: true, setupMode: false })), undefined);
  t.is(bootRefusal(wanted, efi({ secureBoot: true })), undefined);
  const refused: [BootState, RegExp][] = [
    [{ firmware: 'other' }, /not an EFI machine/],
    [efi({}), /cannot be read/],
    [efi({ secureBoot: false }), /is off/],
    [efi({ secureBoot: true, setupMode: true }), /setup mode/],
  ];
  for (const [boot, why] of refused) {
    const refusal = bootRefusal(wanted, boot);
    t.regex(refusal ?? '', why);
    t.like(bootCheck(boot, refusal), { state: 'failed' });
    t.is(bootRefusal(free, boot), undefined);
    t.like(bootCheck(boot, undefined), { state: 'ok' });
  }
});

when(test, {
  root: true,
  other: () => (readBootState().secureBoot ? 'needs a machine without secure boot' : undefined),
})('a daemon that requires it takes no change, not even one that repairs the state', async (t) => {
  const daemon = await startDaemon({
    paths: pathsOf(temporaryFolder(t)),
    settings: settingsOf([
      { key: 'integrity.require_secure_boot', value: 'yes', origin: 'test:1' },
      { key: 'space.reserve', value: '8MiB', origin: 'test:2' },
    ]),
    log: silentLog,
    version: '0',
    hooks: { silent: true },
  });
  t.teardown(() => daemon.stop());
  t.regex(daemon.degraded ?? '', /require_secure_boot/);
  const plan = {
    kind: 'test.repair',
    summary: 'repair',
    ownerUid: 0,
    holds: [],
    tasks: [{ kind: 'personas.scrub', params: { files: 0, bytes: 0 } }],
    needs: { repairs: true },
  };
  await t.throwsAsync(daemon.engine.submit(plan), { code: 'daemon-degraded' });
});
