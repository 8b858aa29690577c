/** Addresses made of a template and ids, such that no id can reach another host, path or query. */
export interface UrlTemplate {
  /** Why this id cannot be put in; undefined: it can. */
  problemOf(id: string): string | undefined;
  urlOf(ids: readonly string[]): URL;
}

/**
 * @param template an address in which the placeholder is a whole path segment or a whole query value
 * @param placeholder `{id}` or `{ids}`: several ids are encoded each and joined by commas
 */
export function compileUrlTemplate(template: string, placeholder: '{id}' | '{ids}'): UrlTemplate {
  const query = template.indexOf('?');
  const path = query === -1 ? template : template.slice(0, query);
  const isInPath = path.includes(placeholder);
  return {
    problemOf(id) {
      if (id === '') return 'it is empty';
      if (!id.isWellFormed()) return 'it holds half a character (a lone surrogate)';
      return isInPath && id.split(/[/\\]/).some((part) => /^\.+$/.test(part))
        ? 'as part of a path, dots alone lead elsewhere'
        : undefined;
    },
    urlOf: (ids) =>
      new URL(template.replaceAll(placeholder, () => ids.map((id) => encodeURIComponent(id)).join(','))),
  };
}
