import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDatetime } from './datetime.ts';

const base = Date.UTC(2020, 2, 1) * 1000;

const cases: readonly (readonly [string, number | bigint])[] = [
  ['2020-03-01T00:00:00Z', base],
  ['2020-03-01t00:00:00z', base],
  ['2020-03-01 00:00:00', base],
  ['2020-03-01', base],
  ['2020-3-1', base],
  ['2020-03-01 00:00', base],
  ['2020-03-01T00:00:00 UTC', base],
  ['2020-03-01T00:00:00-09:00', base + 9 * 3600e6],
  ['2020-03-01 00:00:00-0930', base + 9.5 * 3600e6],
  ['2020-03-01T00:00:00+01', base - 3600e6],
  ['2020-03-01T00:00:00.1Z', base + 100_000],
  ['2020-03-01T00:00:00.123456789Z', base + 123_456],
  ['1969-12-31T23:59:59.5Z', -500_000],
  ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1) * 1000],
  ['0001-01-01T00:00:00Z', -62_135_596_800_000_000n],
  ['9999-12-31T23:59:59.999999Z', 253_402_300_799_999_999n],
];

for (const [text, want] of cases) {
  test(`datetime ${text}`, () => {
    assert.equal(parseDatetime(text), want);
  });
}

for (const text of [
  '',
  'x',
  '2020',
  '2020-13-01',
  '2021-02-29',
  '2020-03-01T24:00:00Z',
  '2020-03-01T00:60:00',
  '2020-03-01T00:00:00+25:00',
  '2020-03-01T00:00:00.Z',
  '2020-03-01T00:00Z',
  '20200301',
  ' 2020-03-01',
  '2020-03-01T00:00:00Z ',
]) {
  test(`no datetime: ${JSON.stringify(text)}`, () => {
    assert.equal(parseDatetime(text), undefined);
  });
}
