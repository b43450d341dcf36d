"""Every view in every state, light and dark side by side, a page a kind, and a picture of each.

    make gallery

``state.py`` says what a state is and which every view must have; ``heatmap.py`` declares those of
the heatmap, and every other view has such a file; ``page.py`` makes the page and the pictures. Real
views of a real model: only the kernel is a stand-in in the page, which answers with what the view
itself answered, late, wrongly or not at all. Output: build/gallery/index.html, a folder of pictures
for each view, and the README's pictures in notebooks/images.
"""
