// One JSON call of the API, its result or its error; for tests whose nodes may be killed while they answer.

/** Beyond every deadline that a node has. */
const answerMsMax = 90_000;

/** @throws RangeError with status and text of what is not 200; whatever `fetch` throws, also where no answer comes */
export async function json(url: string, method: string, path: string, body?: unknown, timeoutMs = answerMsMax): Promise<unknown> {
  const response = await fetch(url + path, {
    method, signal: AbortSignal.timeout(timeoutMs), ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as { readonly result: unknown; readonly status: unknown };
  if (response.status !== 200) throw new RangeError(`${response.status} ${JSON.stringify(answer.status)}`);
  return answer.result;
}
