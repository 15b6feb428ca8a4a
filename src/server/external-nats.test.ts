import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveConfig } from './config.ts';
import { externalNats } from './external-nats.ts';

const configOf = (values: Readonly<Record<string, unknown>>): ReturnType<typeof resolveConfig>['config'] => resolveConfig([{ origin: 'test', values: new Map(Object.entries(values)) }]).config;

test('the servers of the engine, with ports, one scheme for all', () => {
  const of = (engine: string, more: Readonly<Record<string, unknown>> = {}): unknown => {
    const found = externalNats(configOf({ 'cluster.engine': engine, ...more }));
    return found === undefined ? undefined : [found.servers, found.tls !== undefined];
  };
  assert.equal(of('embedded'), undefined);
  assert.deepEqual(of('nats://a:4223, b,nats://[::1]:4224'), [['a:4223', 'b:4222', '[::1]:4224'], false]);
  assert.deepEqual(of('tls://a,b:1'), [['a:4222', 'b:1'], true]);
  assert.deepEqual(of('nats://a', { 'cluster.nats_ca_cert': '/ca' }), [['a:4222'], true]);
});

const refused: readonly [string, Readonly<Record<string, unknown>>, RegExp][] = [
  ['another scheme', { 'cluster.engine': 'http://a' }, /must be embedded or nats:\/\/host:port/],
  ['no host', { 'cluster.engine': 'nats://' }, /must be embedded or nats:\/\/host:port/],
  ['a hole in the list', { 'cluster.engine': 'nats://a,,b' }, /must be embedded or nats:\/\/host:port/],
  ['a user in the URL', { 'cluster.engine': 'nats://user:secretword@a:4222' }, /holds no user/],
  ['a certificate without key', { 'cluster.engine': 'nats://a', 'cluster.nats_cert': '/c' }, /belong together/],
  ['a monitor that is no URL', { 'cluster.engine': 'nats://a', 'cluster.nats_monitor_urls': ['a:8222'] }, /a:8222 is no http:\/\/ URL/],
];
for (const [why, values, text] of refused) {
  test(`refused: ${why}`, () => {
    assert.throws(() => externalNats(configOf(values)), (error: Error) => text.test(error.message) && !error.message.includes('secretword'));
  });
}
