import { expect, it } from '@jest/globals';
import { settingsChange } from './settings-change.plan.js';

it.each([
  [{ a: 1 }, { a: 1 }, null],
  [{ enabled: true }, { enabled: false }, 'enabled: true -> false'],
  [{ retention: { keep_daily: 7, keep_last: 1 } }, { retention: { keep_daily: 3, keep_last: 1 } }, 'retention.keep_daily: 7 -> 3'],
  [{ retention: { keep_daily: 7 } }, { retention: null }, 'retention.keep_daily: 7 -> none'],
  [{ retention: null }, {}, null],
  [{ include: [{ by: 'name', value: 'web-*' }] }, { include: [] }, 'include: name=web-* -> none'],
  [{ days: [] }, { days: ['mon', 'tue'], rpo_seconds: 60 }, 'days: none -> mon, tue; rpo_seconds: none -> 60'],
  [{ blackouts: [{ from: 'a', until: 'b', effect: 'skip' }] }, { blackouts: [] }, 'blackouts: {"from":"a","until":"b","effect":"skip"} -> none'],
])('an edit of %j to %j changes %s', (before, after, text) => {
  expect(settingsChange(before, after)).toBe(text);
});
