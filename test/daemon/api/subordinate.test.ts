import test from 'ava';
import {
  ownerLookup,
  parseGroup,
  parseSubordinate,
  parseUsers,
} from '../../../daemon/api/subordinate.ts';

test('a subordinate id counts to the owner of its range', (t) => {
  const users = parseUsers(
    'root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbad\n:x:7\n',
  );
  const text = 'ann:100000:65536\n1001:200000:10\nghost:300000:65536\n# x\nann:x:y\n';
  const ownerOf = ownerLookup(parseSubordinate(text, (name) => users.get(name)));
  t.is(ownerOf(100_000), 1000);
  t.is(ownerOf(165_535), 1000);
  t.is(ownerOf(165_536), 165_536);
  t.is(ownerOf(200_009), 1001);
  t.is(ownerOf(300_000), 300_000);
  t.is(ownerOf(1000), 1000);
  t.is(ownerOf(0), 0);
});

test('the group of the control socket is found, or not', (t) => {
  const text = 'root:x:0:\npersona:x:997:ann\nodd:x:\n';
  t.is(parseGroup(text, 'persona'), 997);
  t.is(parseGroup(text, 'odd'), undefined);
  t.is(parseGroup('', 'persona'), undefined);
});
