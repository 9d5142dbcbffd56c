import { mock } from 'node:test';
import test from 'ava';
import { whenQuiet } from '../../../daemon/system/quiet.ts';

test('it acts once after a quiet time, and not while it is told', (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  let acted = 0;
  const quiet = whenQuiet(() => {
    acted += 1;
  }, 1000);
  for (let told = 0; told < 50; told += 1) {
    quiet.tell();
    mock.timers.tick(100);
  }
  t.is(acted, 0);
  mock.timers.tick(2000);
  t.is(acted, 1);
  mock.timers.tick(10_000);
  t.is(acted, 1, 'nothing was told since');
  quiet.tell();
  quiet.stop();
  mock.timers.tick(10_000);
  t.is(acted, 1, 'stopped');
});
