"""Stages prepare_images and prepare_rt: source objects become canonical images, structure sets, doses and plans."""
