// Versions we name: our own, and the release of Qdrant whose API we speak.

export const productVersion = '0.1.0';

/** Clients compare it with their own and warn when they are far apart. */
export const apiVersion = '1.19.0';
