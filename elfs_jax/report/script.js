'use strict';
// Names reach the page as text alone: nothing here makes HTML of a string.
(function () {
  const content = JSON.parse(document.getElementById('content').textContent);
  const find = (query) => Array.from(document.querySelectorAll(query));
  const pictures = new Map(Object.entries(content.pictures));
  const names = new Map(Object.entries(content.names));
  const buttons = new Map();
  find('.items .open').forEach((button) => {
    const row = button.dataset.row, image = button.querySelector('img');
    buttons.set(row, button);
    names.set(row, button.querySelector('.id').textContent);
    if (image) pictures.set(row, image.src);
  });
  function make(tag, text, kind) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }
  function picture(row, kind) {
    const image = make('img', undefined, kind);
    image.alt = '';
    image.src = pictures.get(row);
    return image;
  }
  find('img[data-from]').forEach((image) => {
    if (pictures.has(image.dataset.from)) image.src = pictures.get(image.dataset.from);
    else image.remove();
  });

  // One picture, larger, with what is known of it.
  const dialog = document.getElementById('large'), body = document.getElementById('large-body');
  const position = document.getElementById('position');
  let current = null;
  const around = () => find('.items').filter((list) => list.contains(buttons.get(current)))
      .flatMap((list) => Array.from(list.querySelectorAll('li:not([hidden]) .open')));
  function figure(row, text) {
    const made = make('figure');
    if (pictures.has(row)) made.append(picture(row));
    const name = make('span', undefined, 'id'), caption = make('figcaption');
    name.append(make('bdi', names.get(row) || row));
    caption.append(name, make('span', text, 'muted'));
    made.append(caption);
    made.title = names.get(row) || row;
    if (buttons.has(row)) {
      const button = make('button', undefined, 'open');
      button.type = 'button';
      button.addEventListener('click', () => show(row));
      button.append(...made.childNodes);
      made.append(button);
    }
    return made;
  }
  function strip(title, entries) {
    const made = make('div', undefined, 'strip');
    made.append(...entries);
    body.append(make('h3', title), made);
  }
  function show(row) {
    const item = content.items[row], button = buttons.get(row);
    current = row;
    const places = around();
    position.textContent = (places.indexOf(button) + 1) + ' of ' + places.length;
    body.replaceChildren();
    if (pictures.has(row)) body.append(picture(row, 'large'));
    body.append(make('p', item.path || names.get(row), 'path'));
    body.append(make('p', button.dataset.about));
    if (item.stands !== null) {
      body.append(make('p', item.stands === 1 ? 'It stands for one other that is not chosen.'
        : 'It stands for ' + item.stands.toLocaleString('en') + ' others that are not chosen.'));
    } else if (item.by >= 0) {
      strip('What stands for it', [figure(String(item.by))]);
    }
    const near = item.near.map(([other, similarity]) => figure(String(other), 'alike ' + similarity.toFixed(2)));
    strip('Most like it', near);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }
  function step(by) {
    const places = around(), next = places[places.indexOf(buttons.get(current)) + by];
    if (next) show(next.dataset.row);
  }
  buttons.forEach((button, row) => button.addEventListener('click', () => show(row)));
  document.getElementById('before').addEventListener('click', () => step(-1));
  document.getElementById('after').addEventListener('click', () => step(1));
  document.getElementById('close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener('keydown', (event) => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
  dialog.addEventListener('close', () => { if (buttons.has(current)) buttons.get(current).focus(); });

  // The filter by cluster, for the pictures and for the map.
  const filter = document.getElementById('filter'), circles = find('#map circle');
  function apply() {
    const other = (element) => filter.value !== '' && element.dataset.cluster !== filter.value;
    find('#chosen li').forEach((item) => { item.hidden = other(item); });
    circles.forEach((circle) => circle.classList.toggle('off', other(circle)));
    const count = find('#chosen li:not([hidden])').length;
    document.getElementById('filtered').textContent = filter.value === '' ? '' : count.toLocaleString('en') + ' shown';
  }
  if (filter) {
    document.getElementById('filter-bar').hidden = false;
    filter.addEventListener('change', apply);
    find('[data-show-cluster]').forEach((button) => button.addEventListener('click', () => {
      filter.value = button.dataset.showCluster;
      apply();
      document.getElementById('chosen-heading').scrollIntoView();
      filter.focus({preventScroll: true});
    }));
    apply();
  }

  // The map: a picture on hover, all of it on a click.
  const tip = document.getElementById('tip');
  circles.forEach((circle) => {
    const row = circle.dataset.row;
    circle.addEventListener('pointerenter', (event) => {
      tip.replaceChildren();
      if (pictures.has(row)) tip.append(picture(row));
      tip.append(make('div', names.get(row)));
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4)) + 'px';
      tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - 220)) + 'px';
    });
    circle.addEventListener('pointerleave', () => { tip.hidden = true; });
    circle.addEventListener('click', () => { tip.hidden = true; show(row); });
  });
})();
