import { describe, expect, it } from 'vitest';
import {
  codeOf,
  codes,
  fetchIds,
  json,
  messageOf,
  scripted,
  SECRET,
  sourceAt,
} from '../support/http-records.ts';

describe('an id', () => {
  it.each(['', '.', '..', '...', '../admin', 'a/../../admin', '..\\admin', '\ud800'])(
    'such as %j is refused before anything is asked, and harms no other',
    async (id) => {
      const { url, asked } = await scripted((_, response) => json(response, '{"id":"1"}'));
      const outcomes = await fetchIds(sourceAt(url), id, '1');
      expect(codes(outcomes)).toEqual(['E_ID_INVALID', 'record']);
      expect(asked.map((request) => request.url)).toEqual(['/shops/1']);
    },
  );

  it('never leaves its place in the path or the query', async () => {
    const { url, asked } = await scripted((_, response) => json(response, '{}'));
    const inQuery = sourceAt(url, { http: { url: `${url}/shops?id={id}&tenant=a` } });
    const ids = [
      'a/b',
      'a?b',
      'a#b',
      '%2e%2e',
      '@evil.example',
      '//evil.example',
      ':80',
      'a&tenant=b',
      'x%00',
      '\r\nx: y',
      '..',
    ];
    for (const id of ids) {
      await fetchIds(sourceAt(url), id);
      await fetchIds(inQuery, id);
    }
    const urls = asked.map((request) => new URL(request.url ?? '', url));
    const [paths, queries] = [
      urls.filter(({ search }) => search === ''),
      urls.filter(({ search }) => search !== ''),
    ];
    // As a part of a path, dots alone are refused.
    expect(paths.map(({ pathname }) => pathname.split('/').map(decodeURIComponent))).toEqual(
      ids.filter((id) => id !== '..').map((id) => ['', 'shops', id]),
    );
    expect(queries.map(({ pathname, searchParams }) => [pathname, ...searchParams])).toEqual(
      ids.map((id) => ['/shops', ['id', id], ['tenant', 'a']]),
    );
  });
});

describe('a redirect', () => {
  const redirecting = async (
    locations: readonly string[],
    allowRedirectsTo: (host: string) => readonly string[],
  ) => {
    const { url, host, asked } = await scripted((request, response) => {
      const hop = Number(new URL(request.url ?? '', 'http://x').searchParams.get('hop') ?? 0);
      const location = locations[hop];
      if (location === undefined) json(response, '{"id":"1"}');
      else response.writeHead(302, { location }).end('moved');
    });
    const [outcome] = await fetchIds(
      sourceAt(url, { http: { allowRedirectsTo: allowRedirectsTo(host) } }),
      '1',
    );
    return { outcome, asked };
  };
  const itself = (host: string): string[] => [host];

  it('is followed to a listed host, with its headers', async () => {
    const { outcome, asked } = await redirecting(['/new?hop=1'], itself);
    expect(outcome).toEqual({ kind: 'record', text: '{"id":"1"}' });
    expect(asked[1]?.headers.authorization).toBe(SECRET);
  });

  it('is refused to a host that is not listed, be it the configured one', async () => {
    const { outcome, asked } = await redirecting(['/new?hop=1&token=abc'], () => [
      '127.0.0.1',
      'other.example',
    ]);
    expect(codeOf(outcome)).toBe('E_FETCH_REDIRECTED');
    expect(messageOf(outcome)).not.toContain('abc');
    expect(asked).toHaveLength(1);
  });

  it('is checked on every hop', async () => {
    const { outcome, asked } = await redirecting(
      ['?hop=1', '?hop=2', 'http://169.254.169.254/latest'],
      itself,
    );
    expect(codeOf(outcome)).toBe('E_FETCH_REDIRECTED');
    expect(messageOf(outcome)).toContain('169.254.169.254/latest');
    expect(asked).toHaveLength(3);
  });

  it('is followed three times, not four', async () => {
    expect(codeOf((await redirecting(['?hop=1', '?hop=2', '?hop=3'], itself)).outcome)).toBe('record');
    const { outcome, asked } = await redirecting(['?hop=1', '?hop=2', '?hop=3', '?hop=4'], itself);
    expect(codeOf(outcome)).toBe('E_FETCH_REDIRECTED');
    expect(asked).toHaveLength(4);
  });

  it.each(['http://', 'file:///etc/passwd', 'javascript:alert(1)', 'ftp://127.0.0.1/x'])(
    'to %s is refused',
    async (location) => {
      expect(codeOf((await redirecting([location], itself)).outcome)).toBe('E_FETCH_REDIRECTED');
    },
  );

  it('without an address is a failure', async () => {
    const { url } = await scripted((_, response) => void response.writeHead(304).end());
    expect(messageOf((await fetchIds(sourceAt(url), '1'))[0])).toMatch(/HTTP 304/);
  });
});
