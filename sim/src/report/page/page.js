// Steps through the moments. All that is shown is in the document already: the list of moments says what
// each of them changed.
(() => {
  'use strict';
  const $ = (what) => document.querySelector(what);
  const root = document.documentElement;

  const schemes = ['light dark', 'light', 'dark'];
  const scheme = $('#scheme');
  if (scheme) {
    let chosen = 0;
    const show = () => {
      root.style.colorScheme = schemes[chosen];
      scheme.textContent = ['colours: as the system', 'colours: light', 'colours: dark'][chosen];
    };
    scheme.addEventListener('click', () => { chosen = (chosen + 1) % schemes.length; show(); });
    scheme.hidden = false;
    show();
  }

  // An index: only the lines that have a text.
  const find = $('#find');
  if (find) {
    const lines = [...document.querySelectorAll('tr.entry')];
    const field = find.querySelector('input');
    const narrow = () => {
      const wanted = field.value.toLowerCase();
      let count = 0;
      for (const line of lines) {
        line.hidden = !line.textContent.toLowerCase().includes(wanted);
        count += Number(!line.hidden);
      }
      find.querySelector('[role=status]').textContent = `${count} of ${lines.length}`;
    };
    field.addEventListener('input', narrow);
    find.hidden = false;
    narrow();
  }

  // Two runs: from one difference to the next.
  const beside = () => {
    const steps = $('#steps');
    if (!steps) return;
    steps.hidden = false;
    const pairs = [...document.querySelectorAll('.pair:not(.same)')];
    const both = $('.both');
    const show = (pair) => {
      both.scrollLeft = Number(pair.dataset.at) * 14 - both.clientWidth / 3;
    };
    if (pairs.length) show(pairs[0]);
    let at = -1;
    document.addEventListener('keydown', (event) => {
      const by = { n: 1, p: -1 }[event.key];
      if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
      at = Math.max(0, Math.min(pairs.length - 1, at + by));
      pairs.forEach((pair, i) => pair.classList.toggle('sel', i === at));
      pairs[at].scrollIntoView({ block: 'center' });
      show(pairs[at]);
    });
  };

  const bar = $('#bar');
  if (!bar) {
    beside();
    return;
  }
  const rows = [...document.querySelectorAll('#moments > li[data-m]')];
  const bars = [...document.querySelectorAll('.b')];
  const list = $('#moments');
  const lanes = $('#lanes');
  const cursor = $('#cursor');
  const facts = $('#facts');
  const parts = facts.dataset.parts.split('|');
  const COLUMN = 14;

  const changes = rows.map((row) => [...row.querySelectorAll('li.c')].map((item) => ({
    part: Number(item.dataset.p),
    name: item.querySelector('b').textContent,
    now: item.classList.contains('minus') ? null : (item.querySelector('i')?.textContent ?? ''),
  })));

  // The facts after a moment, and what it changed of them.
  const after = (at) => {
    const known = new Map();
    let before = new Map();
    for (let i = 0; i <= at; i += 1) {
      if (i === at) before = new Map(known);
      for (const change of changes[i]) {
        const key = `${change.part}|${change.name}`;
        if (change.now === null) known.delete(key);
        else known.set(key, change);
      }
    }
    return { known, before };
  };

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text) made.textContent = text;
    return made;
  };

  const show_facts = (at) => {
    const { known, before } = after(at);
    const fresh = new Map(changes[at].map((change) => [`${change.part}|${change.name}`, change]));
    const sections = [];
    const by_name = (a, b) => (a.name < b.name ? -1 : Number(a.name > b.name));
    parts.forEach((heading, part) => {
      const here = [...known.values()].filter((fact) => fact.part === part).sort(by_name);
      const gone = changes[at].filter((change) => change.part === part && change.now === null);
      if (!here.length && !gone.length) return;
      const section = element('section', 'part');
      section.append(element('h3', '', heading));
      const items = element('ul');
      for (const fact of here) {
        const key = `${part}|${fact.name}`;
        const old = before.get(key);
        const kind = !fresh.has(key) ? 'same' : old ? 'other' : 'new';
        const item = element('li', kind);
        item.append(element('b', '', fact.name));
        if (fact.now) item.append(' ', element('i', '', fact.now));
        if (kind === 'other' && old) item.append(' ', element('s', '', old.now));
        items.append(item);
      }
      for (const change of gone) {
        const item = element('li', 'gone');
        item.append(element('s', '', change.name));
        items.append(item);
      }
      section.append(items);
      sections.push(section);
    });
    facts.replaceChildren(...sections);
  };

  // The moment that a link leads to.
  const place = (link) => Number(link.getAttribute('href').slice(2));

  let current = -1;
  const select = (at) => {
    at = Math.max(0, Math.min(rows.length - 1, at));
    if (at === current) return;
    const old = rows[current];
    if (old) old.removeAttribute('aria-current');
    current = at;
    const row = rows[at];
    row.setAttribute('aria-current', 'step');
    list.scrollTop = row.offsetTop - list.clientHeight / 3;
    const text = (what) => row.querySelector(what).textContent;
    const number = Number(text('.no'));
    const name = number ? `moment ${number} of ${bar.dataset.moments}` : text('.no');
    $('#where').textContent = `${name}, ${text('.at')}`;
    $('#state-of').textContent = text('.no');
    $('#state-what').textContent = `${text('.actor')} ${text('.op')}`;
    $('#notes').replaceChildren(...[...row.querySelectorAll('li.n')].map((note) => note.cloneNode(true)));
    show_facts(at);
    cursor.style.left = `${at * COLUMN}px`;
    cursor.style.display = 'block';
    const x = at * COLUMN;
    if (x < lanes.scrollLeft + 40 || x > lanes.scrollLeft + lanes.clientWidth - 80) {
      lanes.scrollLeft = x - lanes.clientWidth / 2;
    }
    for (const each of bars) each.classList.toggle('sel', place(each) === at);
  };
  // From here on the address leads to the moment that is shown.
  const walk = (at) => {
    select(at);
    history.replaceState(null, '', `#m${current}`);
  };

  const next = (from, wanted) => {
    for (let i = 1; i <= rows.length; i += 1) {
      const at = (from + i) % rows.length;
      if (wanted(at)) return at;
    }
    return from;
  };
  const is_broken = (at) => rows[at].classList.contains('broke');
  const steps = {
    first: () => 0,
    last: () => rows.length - 1,
    change: () => next(current, (at) => changes[at].length > 0),
    broken: () => next(current, is_broken),
  };
  const step = (how) => walk(how in steps ? steps[how]() : current + Number(how));

  bar.addEventListener('click', (event) => {
    const button = event.target.closest('[data-step]');
    if (button) step(button.dataset.step);
  });
  const keys = {
    ArrowRight: '1', ArrowLeft: '-1', PageDown: '10', PageUp: '-10', Home: 'first', End: 'last', c: 'change', v: 'broken',
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault();
    step(keys[event.key]);
  });
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#m"]');
    if (link) {
      event.preventDefault();
      walk(place(link));
      if (!link.closest('.work')) bar.scrollIntoView();
      return;
    }
    const row = event.target.closest('#moments > li[data-m]');
    if (row && !event.target.closest('a') && getSelection().isCollapsed) walk(Number(row.dataset.m));
    const strips = event.target.closest('.strips');
    if (strips) walk(Math.floor((event.clientX - strips.getBoundingClientRect().left) / COLUMN));
  });

  bar.hidden = false;
  const wanted = /^#m(\d+)$/.exec(location.hash);
  select(wanted ? Number(wanted[1]) : Number(bar.dataset.focus));
})();
