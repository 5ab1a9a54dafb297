"""Stage organize: an export becomes patients, courses, images and what links them."""
