// The tests that stand in a source file, by title. Titles made in a loop are templates: `write: ${title}` with 'a text' elsewhere in
// the file makes `write: a text`.
import { readFileSync } from 'node:fs';
import ts from 'typescript';

interface Titles {
  readonly literals: ReadonlySet<string>;
  readonly templates: readonly RegExp[];
}

const known = new Map<string, Titles>();

/** Whether the source has a text that is this title, or a template and a text that make it. */
export function hasTitle(file: string, title: string): boolean {
  let titles = known.get(file);
  if (titles === undefined) {
    titles = readTitles(file);
    known.set(file, titles);
  }
  const { literals, templates } = titles;
  return (
    literals.has(title) ||
    templates.some(
      (template) =>
        template
          .exec(title)
          ?.slice(1)
          .every((part) => literals.has(part)) === true,
    )
  );
}

function readTitles(file: string): Titles {
  const literals = new Set<string>();
  const templates: RegExp[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) literals.add(node.text);
    if (ts.isTemplateExpression(node)) templates.push(templatePattern(node));
    if (ts.isPropertyAssignment(node) && ts.isIdentifier(node.name)) literals.add(node.name.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest));
  return { literals, templates };
}

function templatePattern({ head, templateSpans }: ts.TemplateExpression): RegExp {
  const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped(head.text)}${templateSpans.map(({ literal }) => `(.+)${escaped(literal.text)}`).join('')}$`);
}
