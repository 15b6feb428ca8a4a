// Nodes on NATS servers that are there: founded by one node, joined by the next, and what is refused.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { noNats, natsProgram, testKeys } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts, type NodePorts } from '../../src/cluster/testing/node-ports.ts';
import { temporaryFolder, type TemporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { makeCertificates, type CertificateFiles } from '../support/certificates.ts';
import { startServer, type ServerProcess } from '../support/server-process.ts';
import { json } from './json-client.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

interface Settings {
  readonly isSynced?: boolean;
  readonly payload?: string;
  readonly isSecure?: boolean;
  /** Without it the server is alone. */
  readonly isClustered?: boolean;
}

/** NATS servers as an operator would run them: TLS and an nkey for clients. */
class Servers {
  readonly #folder: string;
  readonly #ports: readonly NodePorts[];
  readonly #certificates: CertificateFiles;
  readonly #children = new Map<number, ChildProcess>();

  constructor(folder: string, ports: readonly NodePorts[], certificates: CertificateFiles) {
    this.#folder = folder;
    this.#ports = ports;
    this.#certificates = certificates;
  }

  get engine(): string {
    return this.#ports.map(({ natsClient }, at) => `${at === 0 ? 'tls://' : ''}127.0.0.1:${natsClient}`).join(',');
  }

  get monitors(): string {
    return this.#ports.map(({ natsMonitor }) => `http://127.0.0.1:${natsMonitor}`).join(',');
  }

  async start(at: number, { isSynced = true, payload = '64MB', isClustered = true, isSecure = true }: Settings = {}): Promise<void> {
    const { natsClient, natsMonitor, route } = must(this.#ports[at], 'it has ports');
    const { ca, cert, key } = this.#certificates;
    const folder = path.join(this.#folder, `server-${at}`);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'server.conf'), `
      server_name: outer-${at}
      listen: "127.0.0.1:${natsClient}"
      http: "127.0.0.1:${natsMonitor}"
      max_payload: ${payload}
      ${isSecure ? `tls { cert_file: "${cert}", key_file: "${key}", ca_file: "${ca}" }` : ''}
      jetstream { store_dir: "${folder}/store"${isSynced ? ', sync_interval: always' : ''} }
      ${isClustered ? `cluster { name: outer, listen: "127.0.0.1:${route}", routes: [ ${this.#ports.map((port) => `"nats://127.0.0.1:${port.route}"`).join(', ')} ] }` : ''}
      accounts { APP { jetstream: enabled, users: [ { nkey: ${testKeys.app.publicKey} } ] }, SYS { users: [ { nkey: ${testKeys.system.publicKey} } ] } }
      system_account: SYS
    `);
    this.#children.set(at, spawn(must(natsProgram, 'the test is skipped without'), ['-c', path.join(folder, 'server.conf')], { stdio: 'ignore' }));
    await waitUntil(`server ${at} answers`, async () => (await fetch(`http://127.0.0.1:${natsMonitor}/varz`)).status === 200);
  }

  async kill(at: number): Promise<void> {
    const child = this.#children.get(at);
    this.#children.delete(at);
    if (child === undefined) return;
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  async end(): Promise<void> {
    for (const at of this.#children.keys()) await this.kill(at);
  }
}

describe('nodes on NATS servers that are there', { skip: noNats ?? false }, () => {
  const count = 3;
  let folder: TemporaryFolder | undefined;
  let outer: Servers | undefined;
  let processes: ProcessCluster | undefined;
  let certificates: CertificateFiles | undefined;
  let spare: number | undefined;
  let env: Readonly<Record<string, string>> = {};
  const servers = (): Servers => must(outer, 'they run');
  const cluster = (): ProcessCluster => must(processes, 'it is there');
  const url = (at: number): string => cluster().node(at).url;
  const place = (...parts: readonly string[]): string => path.join(must(folder, 'it is there').path, ...parts);
  const assertCount = async (wanted: number, nodes: readonly number[]): Promise<void> => {
    for (const at of nodes) await cluster().until(`node ${at} counts ${wanted}`, async () => assert.deepEqual(await json(url(at), 'POST', '/collections/c/points/count', { exact: true }), { count: wanted }));
  };
  const write = (at: number, from: number): Promise<unknown> => json(url(at), 'PUT', '/collections/c/points?wait=true', { points: Array.from({ length: 10 }, (_, n) => ({ id: from + n, vector: [n, 1] })) });

  before(async () => {
    folder = await temporaryFolder();
    certificates = await makeCertificates(place('tls'));
    spare = (await nodePorts(1))[0]?.peer;
    await writeFile(place('nkey'), `${Buffer.from(testKeys.app.seed).toString('latin1')}\n`, { mode: 0o600 });
    outer = new Servers(must(folder, 'it is there').path, await nodePorts(count), certificates);
    for (let at = 0; at < count; at += 1) await servers().start(at);
    env = {
      QDRANT__CLUSTER__ENABLED: 'true', NEARKEEP__CLUSTER__ENGINE: servers().engine, NEARKEEP__CLUSTER__NATS_NKEY_FILE: place('nkey'), NEARKEEP__CLUSTER__NATS_CA_CERT: certificates.ca,
      NEARKEEP__CLUSTER__NATS_MONITOR_URLS: servers().monitors,
    };
    processes = await processCluster(2, { argsOf: ({ ports: { peer } }) => ['--peer-port', String(peer)], env });
  });
  after(async () => {
    try {
      await processes?.[Symbol.asyncDispose]();
    } finally {
      await outer?.end();
      await folder?.[Symbol.asyncDispose]();
    }
  });

  test('one node founds a cluster without a list and starts no server; the next one joins by starting', async () => {
    await cluster().start(0);
    await json(url(0), 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' }, shard_number: 2 });
    await write(0, 0);
    await assertCount(10, [0]);
    assert.equal((await readdir(cluster().place(0).data)).includes('nats'), false, 'it has no server of its own');
    const alone = (await json(url(0), 'GET', '/cluster')) as { readonly peer_id: number; readonly raft_info: { readonly leader: number; readonly role: string }; readonly consensus_thread_status: { readonly consensus_thread_status: string } };
    assert.deepEqual([alone.raft_info.leader, alone.raft_info.role, alone.consensus_thread_status.consensus_thread_status], [alone.peer_id, 'Leader', 'working']);

    await cluster().start(1);
    for (const at of [0, 1]) await cluster().until(`node ${at} knows two`, async () => Object.keys(((await json(url(at), 'GET', '/cluster')) as { readonly peers: object }).peers).length === 2);
    await json(url(1), 'PUT', '/collections/both', { vectors: { size: 2, distance: 'Dot' }, shard_number: 2, replication_factor: 2 });
    await write(1, 10);
    await assertCount(20, [0, 1]);
    assert.match(cluster().output(1), /nats-server \d+\.\d+\.\d+ at nats:\/\/127\.0\.0\.1:\d+/);
  });

  test('what was acknowledged is there after every node was killed', async () => {
    await Promise.all([cluster().kill(0), cluster().kill(1)]);
    await Promise.all([cluster().start(0), cluster().start(1)]);
    await assertCount(20, [0, 1]);
    await write(0, 20);
    await assertCount(30, [0, 1]);
  });

  test('a server of three is lost, writes go on, and it comes back', async () => {
    await servers().kill(1);
    for (let n = 0; n < 5; n += 1) await cluster().until('a write is acknowledged', () => write(n % 2, 30 + n * 10));
    await assertCount(80, [0, 1]);
    await cluster().stop(1);
    await cluster().start(1);
    await cluster().untilSaid(1, /not every monitor of the external NATS answers/);
    await servers().start(1);
    await servers().kill(2);
    await cluster().until('a write is acknowledged', () => write(1, 80));
    await assertCount(90, [0, 1]);
    await servers().start(2);
  });

  test('a cluster whose servers lost their majority says so', async () => {
    const working = async (): Promise<boolean> => ((await json(url(0), 'GET', '/cluster')) as { readonly consensus_thread_status: { readonly consensus_thread_status: string } }).consensus_thread_status.consensus_thread_status === 'working';
    await servers().kill(0);
    await servers().kill(1);
    await cluster().until('it does not work', async () => assert.equal(await working(), false));
    await servers().start(0);
    await servers().start(1);
    await cluster().until('it works again', working);
    await cluster().until('a write is acknowledged', () => write(0, 90));
    await assertCount(100, [0, 1]);
  });

  const refusals: readonly [string, () => Readonly<Record<string, string>>, RegExp][] = [
    ['nothing shows that writes are synced', () => ({ NEARKEEP__CLUSTER__NATS_MONITOR_URLS: '' }), /nothing shows that the external NATS syncs every write: name the monitors/],
    ['no monitor answers', () => ({ NEARKEEP__CLUSTER__NATS_MONITOR_URLS: 'http://127.0.0.1:1' }), /no monitor of the external NATS answers: http:\/\/127\.0\.0\.1:1/],
    ['the node has no way to show who it is', () => ({ NEARKEEP__CLUSTER__NATS_NKEY_FILE: '' }), /needs cluster\.nats_credentials_file or cluster\.nats_nkey_file/],
    ['the file of the nkey is not there', () => ({ NEARKEEP__CLUSTER__NATS_NKEY_FILE: '/none' }), /\/none, which is to tell the external NATS who this node is, does not exist/],
    ['the file holds no nkey', () => ({ NEARKEEP__CLUSTER__NATS_NKEY_FILE: must(certificates, 'they are made').key }), /holds no seed of an nkey/],
    ['the file holds no credentials', () => ({ NEARKEEP__CLUSTER__NATS_NKEY_FILE: '', NEARKEEP__CLUSTER__NATS_CREDENTIALS_FILE: place('nkey') }), /holds no credentials of NATS/],
    ['the user is not known', () => ({ NEARKEEP__CLUSTER__NATS_NKEY_FILE: place('stranger') }), /does not let this node in: /],
    ['the certificate is of another authority', () => ({ NEARKEEP__CLUSTER__NATS_CA_CERT: place('other/ca.pem'), NEARKEEP__CLUSTER__CONSENSUS__BOOTSTRAP_TIMEOUT_SEC: '1' }), /cannot be reached: .*certificate/],
    ['the account holds another cluster', () => ({ NEARKEEP__CLUSTER__SECRET: 'a secret of another cluster' }), /the NATS account holds another cluster/],
  ];
  for (const [why, more, text] of refusals) {
    test(`refused: ${why}`, async () => {
      await writeFile(place('stranger'), clusterKeys('a secret of other nodes').app.seed);
      await makeCertificates(place('other'));
      await assert.rejects(startServer({ data: place('refused'), args: ['--peer-port', String(must(spare, 'it is looked for'))], env: { ...env, ...more() } }), text);
    });
  }
});

describe('a NATS server that is there and alone', { skip: noNats ?? false }, () => {
  const use = async (settings: Settings, more: Readonly<Record<string, string>>, work: (start: (env?: Readonly<Record<string, string>>) => Promise<ServerProcess>) => Promise<void>): Promise<void> => {
    await using folder = await temporaryFolder();
    const certificates = await makeCertificates(path.join(folder.path, 'tls'));
    await writeFile(path.join(folder.path, 'nkey'), Buffer.from(testKeys.app.seed));
    const servers = new Servers(folder.path, await nodePorts(1), certificates);
    const [own] = await nodePorts(1);
    const started: ServerProcess[] = [];
    try {
      await servers.start(0, { isClustered: false, ...settings });
      await work(async (env = {}) => {
        const server = await startServer({
          data: path.join(folder.path, 'data'), args: ['--peer-port', String(own?.peer)],
          env: {
            QDRANT__CLUSTER__ENABLED: 'true', NEARKEEP__CLUSTER__ENGINE: servers.engine, NEARKEEP__CLUSTER__NATS_NKEY_FILE: path.join(folder.path, 'nkey'), NEARKEEP__CLUSTER__NATS_CA_CERT: certificates.ca,
            NEARKEEP__CLUSTER__NATS_MONITOR_URLS: servers.monitors, ...more, ...env,
          },
        });
        started.push(server);
        return server;
      });
    } finally {
      for (const server of started) await server.stop();
      await servers.end();
    }
  };

  test('it is used where the operator accepts one copy', () => use({}, { NEARKEEP__CLUSTER__NATS_REPLICAS: '1' }, async (start) => {
    const server = await start();
    const { url } = server;
    await json(url, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' } });
    await json(url, 'PUT', '/collections/c/points?wait=true', { points: [{ id: 1, vector: [1, 1] }] });
    assert.deepEqual(await json(url, 'POST', '/collections/c/points/count', { exact: true }), { count: 1 });
    assert.match(server.output(), /each log has one copy/);
  }));

  test('it is refused where three copies are wanted', () => use({}, {}, async (start) => {
    await assert.rejects(start(), /the external NATS is one server, where cluster\.nats_replicas asks for 3 copies/);
  }));

  test('it is refused where it does not sync every write, unless the operator vouches for it', () => use({ isSynced: false }, { NEARKEEP__CLUSTER__NATS_REPLICAS: '1' }, async (start) => {
    await assert.rejects(start(), /does not sync every write; set sync_interval: always/);
    assert.match((await start({ NEARKEEP__CLUSTER__NATS_ALLOW_UNSYNCED: 'true' })).output(), /is taken to sync every write/);
  }));

  test('it is refused where it takes smaller messages than a cluster writes', () => use({ payload: '1MB' }, { NEARKEEP__CLUSTER__NATS_REPLICAS: '1' }, async (start) => {
    await assert.rejects(start(), /takes messages of 1048576 bytes, a cluster needs \d+: set max_payload/);
  }));

  test('it is refused where TLS is wanted and the server has none', () => use({ isSecure: false }, { NEARKEEP__CLUSTER__NATS_REPLICAS: '1', NEARKEEP__CLUSTER__CONSENSUS__BOOTSTRAP_TIMEOUT_SEC: '1' }, async (start) => {
    await assert.rejects(start(), /cannot be reached: .*tls/);
  }));
});
