// Names of collections in the paths of requests.
import { RequestError } from '../../base/errors.ts';
import { nameProblem, newNameProblem } from '../../command/names.ts';

/** For a name in the path of any route. @throws RequestError 'validation' */
export function checkCollectionName(name: string): void {
  refuse(nameProblem(name));
}

/** For a name that a create, upload or recover may give to a new collection. @throws RequestError 'validation' */
export function checkNewCollectionName(name: string): void {
  refuse(newNameProblem(name));
}

function refuse(problem: string | undefined): void {
  if (problem !== undefined) throw new RequestError('validation', `Validation error in path parameters: [collection_name: ${problem}]`);
}
