// The composition root: builds engine and transports from a configuration, wires them, and closes them in reverse.
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { createRestServer, type RestSettings } from '../api/rest/rest-server.ts';
import type { Logger } from '../base/logger.ts';
import { isLoopback } from '../base/loopback.ts';
import { Access } from '../engine/access.ts';
import { Engine } from '../engine/engine.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import type { StartRestore } from '../snapshot/start-restore.ts';
import type { BannerFacts } from './banner.ts';
import type { Config } from './config.ts';
import { clusterSettings } from './cluster-settings.ts';
import { refuseOpenServer } from './refuse-open-server.ts';
import { CertificateFiles } from './certificate.ts';
import { EventLoopDelay } from './event-loop-delay.ts';
import { readProcessFacts } from './process-facts.ts';

/** Requests in flight get this long to end at shutdown. */
const drainMsMax = 10_000;

interface StartOptions {
  readonly restore?: StartRestore | undefined;
  /** Ends a start that waits for other nodes. */
  readonly signal?: AbortSignal | undefined;
}

export class Server implements AsyncDisposable {
  readonly engine: Engine;
  readonly address: string;
  readonly #rest: FastifyInstance;
  readonly #state: { ready: boolean };
  readonly #loopDelay: EventLoopDelay;
  readonly #certificates: CertificateFiles | undefined;
  #closed: Promise<void> | undefined;

  private constructor(
    engine: Engine,
    rest: FastifyInstance,
    options: { readonly address: string; readonly state: { ready: boolean }; readonly loopDelay: EventLoopDelay; readonly certificates: CertificateFiles | undefined },
  ) {
    this.engine = engine;
    this.#rest = rest;
    this.address = options.address;
    this.#state = options.state;
    this.#loopDelay = options.loopDelay;
    this.#certificates = options.certificates;
  }

  /**
   * Opens the data directory, restores what the command line asks for, and listens.
   * @throws RequestError where the configuration is unsafe or the directory is taken
   * @throws the signal's reason where it ended a start that waited for other nodes; nothing is left open then
   */
  static async start(config: Config, logger: Logger, { restore, signal }: StartOptions = {}): Promise<Server> {
    refuseOpenServer(config);
    const certificates = await CertificateFiles.open(config, { disk: new NodeDisk(), logger });
    try {
      return await Server.#start(config, { logger, restore, signal, certificates });
    } catch (error) {
      certificates?.close();
      throw error;
    }
  }

  static async #start(config: Config, { logger, restore, signal, certificates }: StartOptions & { readonly logger: Logger; readonly certificates: CertificateFiles | undefined }): Promise<Server> {
    const loopback = isLoopback(config.service.host);
    const disk = new NodeDisk();
    const engine = await Engine.open({
      dataDirectory: path.resolve(config.storage.storage_path),
      snapshotsDirectory: path.resolve(config.storage.snapshots_path),
      logger,
      recovery: { urlRecovery: config.service.enable_snapshot_url_recovery, boundToLoopback: loopback, urlAllow: config.service.snapshot_url_allow },
      signal,
      undoHours: config.storage.snapshots_config.undo_hours,
      ...(config.cluster.enabled ? { cluster: clusterSettings(config, config.cluster.p2p.enable_tls ? certificates?.forNodes() : undefined) } : {}),
    });
    const state = { ready: true };
    const loopDelay = EventLoopDelay.start();
    try {
      if (restore !== undefined) await engine.snapshots.restoreAtStart(restore);
      const tls = config.service.enable_tls ? certificates?.current : undefined;
      const rest = createRestServer({
        engine,
        logger,
        access: new Access(keysOf(config)),
        settings: { ...restSettings(config, loopback), tls },
        isReady: () => state.ready && engine.cluster?.isReady() !== false,
        writesRefused: () => (engine.cluster?.isDiskFull === true ? 'the disk of this node is full, its shards take no writes' : undefined),
        processFacts: () => readProcessFacts(disk, engine.dataDirectory),
        takeLoopDelay: () => loopDelay.take(),
      });
      certificates?.renew(rest.server);
      await rest.listen({ host: config.service.host, port: config.service.http_port });
      const { port } = rest.server.address() as AddressInfo;
      const host = config.service.host.includes(':') ? `[${config.service.host}]` : config.service.host;
      return new Server(engine, rest, { address: `${tls === undefined ? 'http' : 'https'}://${host === '0.0.0.0' ? 'localhost' : host}:${port}`, state, loopDelay, certificates });
    } catch (error) {
      loopDelay.stop();
      await engine.close();
      throw error;
    }
  }

  async facts(): Promise<BannerFacts> {
    const { freeBytes } = await new NodeDisk().space(this.engine.dataDirectory);
    return {
      version: this.engine.version,
      dataDirectory: this.engine.dataDirectory,
      snapshotsDirectory: this.engine.snapshotsDirectory,
      freeBytes,
      address: this.address,
      kernel: this.engine.kernel,
      collections: this.engine.listCollections().length,
      cluster: await this.engine.cluster?.facts(),
    };
  }

  /** Never resolves on one node. */
  get whenRemoved(): Promise<'removed'> {
    return this.engine.cluster?.whenRemoved.then(() => 'removed' as const) ?? new Promise(() => undefined);
  }

  /** Not ready, no new connections, requests in flight end, then the engine. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#state.ready = false;
    const cut = setTimeout(() => {
      this.#rest.server.closeAllConnections();
    }, drainMsMax);
    await this.#rest.close();
    clearTimeout(cut);
    await this.engine.close();
    this.#loopDelay.stop();
    this.#certificates?.close();
  }
}

function keysOf({ service }: Config): {
  apiKey: string | undefined;
  altApiKey: string | undefined;
  readOnlyApiKey: string | undefined;
} {
  return { apiKey: service.api_key, altApiKey: service.alt_api_key, readOnlyApiKey: service.read_only_api_key };
}

function restSettings({ service }: Config, boundToLoopback: boolean): Omit<RestSettings, 'tls'> {
  return {
    bodyLimitBytes: service.max_request_size_mb * 1024 * 1024,
    keepAliveTimeoutMs: service.http_keep_alive_timeout_sec * 1000,
    headersTimeoutMs: service.http_client_request_timeout_sec * 1000,
    enableCors: service.enable_cors || service.cors_origins.includes('*'),
    corsOrigins: service.cors_origins,
    metricsPrefix: service.metrics_prefix,
    boundToLoopback,
  };
}
