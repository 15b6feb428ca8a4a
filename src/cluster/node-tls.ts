// What a node shows the other nodes of its cluster, and what it takes from them: both sides of a connection show a certificate of the
// cluster's own authority. The files may be renewed while the node runs; connections that are open keep what they began with.
export interface PeerTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Certificates of the authorities that nodes are believed by. */
  readonly ca: Buffer;
}

/** The same as files, which the NATS server reads by itself. */
export interface NatsTls {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

export interface NodeTls {
  readonly files: NatsTls;
  readonly current: PeerTls;
  /** Told what the files hold now, each time they have changed and can be used. Answers what ends that. */
  onRenewed(listener: (renewed: PeerTls) => void): () => void;
}
