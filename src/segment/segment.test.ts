import assert from 'node:assert/strict';
import { andNotInto, emptyBits, fullBits, setBit } from '../payload/bitmap.ts';
import { mergeSegments } from './merge.ts';
import { segmentContract } from './segment.contract.ts';
import { emptyHead, fill, open, randomRows, schema, seal, specs, temporaryPlace, type ModelRow } from './testing/segment-fixtures.ts';

segmentContract('mutable', {
  repeatedIds: true,
  make: (_, rows) => Promise.resolve(fill(emptyHead(), rows)),
});

segmentContract('sealed', {
  repeatedIds: true,
  make: async (t, rows) => {
    const place = await temporaryPlace(t);
    return await open(place, await seal(place, rows));
  },
});

segmentContract('merged', {
  repeatedIds: false,
  make: async (t, rows) => {
    const place = await temporaryPlace(t);
    const strangers = randomRows(1, 40, { unique: true }).map((row): ModelRow => ({ ...row, version: 100, dead: true }));
    const parts = [[...strangers, ...rows.slice(0, 120)], rows.slice(120, 121), [...rows.slice(121), ...strangers]];
    const inputs = [];
    for (const part of parts) {
      const segment = await open(place, await seal(place, part.map((row) => ({ ...row, dead: false }))));
      const live = fullBits(segment.rowCount);
      const dead = emptyBits(segment.rowCount);
      for (const [at, row] of part.entries()) if (row.dead) setBit(dead, at);
      inputs.push({ segment, live: andNotInto(live, dead) });
    }
    const { description } = await mergeSegments({ ...place, inputs, specs, payloadSchema: schema });
    for (const { segment } of inputs) await segment.close();
    assert.ok(description !== undefined);
    return await open(place, description);
  },
});
